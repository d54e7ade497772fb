#!/usr/bin/env bash
# Installs a package made by package.sh, starts the node by the command of its unit, removes the package, and looks for the data.
#   test-package.sh PACKAGE
# Needs root and a machine without the package. Where systemd does not run, the command of the unit runs without its sandbox, with the
# data in a directory that this script makes.
set -euo pipefail

fail() {
    echo "test-package.sh: $1" >&2
    exit 1
}

package=${1:-}
[ -f "$package" ] || fail "usage: test-package.sh PACKAGE"
[ "$(id -u)" -eq 0 ] || fail "root installs packages"
if dpkg-query --show rumormill >/dev/null 2>&1; then
    fail "rumormill is installed here: this test would remove it"
fi

scratch=$(mktemp -d)
node=''
# Called by the trap.
# shellcheck disable=SC2317
end() {
    if [ -n "$node" ]; then
        kill "$node" 2>/dev/null || true
    fi
    dpkg --purge rumormill >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap end EXIT

dpkg --install "$package" >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log" >&2; fail "dpkg does not install it"; }
echo "installed: $(dpkg-query --show rumormill)"
said=$(systemd-analyze verify /lib/systemd/system/rumormill.service 2>&1)
[ -z "$said" ] || fail "systemd-analyze says: $said"
echo "the unit is right"

command=$(sed -n 's/^ExecStart=//p' /lib/systemd/system/rumormill.service)
# shellcheck disable=SC2086
RUMORMILL_DATA_DIR=$scratch/data RUMORMILL_LISTEN=127.0.0.1:0 RUMORMILL_REDIS=127.0.0.1:0 RUMORMILL_HTTP=off \
    $command --json >"$scratch/ready" 2>"$scratch/log" &
node=$!
for _ in $(seq 100); do
    [ ! -s "$scratch/ready" ] || break
    kill -0 "$node" 2>/dev/null || { cat "$scratch/log" >&2; fail "the node ended"; }
    sleep 0.1
done
redis=$(sed -n 's/.*"redis":"\([^"]*\)".*/\1/p' "$scratch/ready")
[ -n "$redis" ] || fail "the node does not say where it listens"
rumormill put default greeting hello --addr "$redis" >/dev/null
[ "$(rumormill get default greeting --addr "$redis")" = hello ] || fail "the row is not read back"
kill -TERM "$node"
outcome=0
wait "$node" || outcome=$?
node=''
[ "$outcome" -eq 0 ] || fail "the node ended with exit code $outcome"
echo "started, written, read and stopped with exit code 0"

mkdir -p /var/lib/rumormill
touch /var/lib/rumormill/data-of-the-test
trap 'rm -f /var/lib/rumormill/data-of-the-test; rmdir --ignore-fail-on-non-empty /var/lib/rumormill; end' EXIT
dpkg --remove rumormill >/dev/null
[ ! -e /usr/bin/rumormill ] || fail "the program is still there"
[ -e /etc/rumormill/node.toml ] || fail "removing took the configuration"
dpkg --purge rumormill >/dev/null
[ ! -e /etc/rumormill/node.toml ] || fail "purging left the configuration"
[ -e /var/lib/rumormill/data-of-the-test ] || fail "purging took the data"
echo "removed and purged: the data is still there"
