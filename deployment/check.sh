#!/usr/bin/env bash
# Checks what lies in this folder, one line for each check. A check whose tool is not here is skipped with a word; tools.sh installs them.
#   check.sh [--require-all]      with it a skip is a failure
# The check of metrics starts a node of the binary in RUMORMILL_BINARY, or of target/release or target/debug.
# Exit code 1: a check failed. Exit code 2: wrong usage.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/deployment"
PATH=$root/target/deployment-tools/bin:$root/target/deployment-tools/venv/bin:$PATH

require_all=''
case "${1:-}:$#" in
    :0) ;;
    --require-all:1) require_all=yes ;;
    *)
        echo "usage: check.sh [--require-all]" >&2
        exit 2
        ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0 skipped=0 passed=0

# skip NAME WHY
skip() {
    skipped=$((skipped + 1))
    echo "skip  $1: $2"
}

# check NAME TOOLS COMMAND...: the tools have spaces between them. Each command runs in a shell of its own, since `set -e` is off in a condition.
check() {
    local name=$1 tools=$2 tool outcome=0
    shift 2
    for tool in $tools; do
        command -v "$tool" >/dev/null || {
            skip "$name" "no $tool"
            return
        }
    done
    set +e
    (
        set -e
        "$@"
    ) >"$scratch/output" 2>&1
    outcome=$?
    set -e
    if [ "$outcome" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok    $name"
    else
        failed=$((failed + 1))
        echo "FAIL  $name"
        sed 's/^/      /' "$scratch/output"
    fi
}

scripts() {
    find . -name '*.sh' -exec shellcheck --external-sources --source-path=SCRIPTDIR {} +
}

programs() {
    find . -name '*.py' -exec python3 -c 'import ast, sys; [ast.parse(open(name).read(), name) for name in sys.argv[1:]]' {} +
}

# The marks of the pages say which commands were run: each page has its table of them.
marks() {
    local page
    for page in */README.md; do
        grep -q '^| mark | meaning |$' "$page" || {
            echo "$page does not say how its commands were checked"
            return 1
        }
    done
}

if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
else
    compose=(docker-compose)
fi

compose_files() {
    "${compose[@]}" -f compose/compose.yaml config --quiet
    compose/more.sh 9 >"$scratch/more.yaml"
    "${compose[@]}" -f compose/compose.yaml -f "$scratch/more.yaml" config --services | LC_ALL=C sort >"$scratch/services"
    for i in 1 2 3 4 5 6 7 8 9; do echo "node-$i"; done | diff - "$scratch/services"
    ! compose/more.sh 3 || return 1
}

manifests() {
    local overlay
    for overlay in local/overlays/*; do
        kubectl kustomize "$overlay" >"$scratch/manifests.yaml"
        kubernetes-validate --strict --quiet "$scratch/manifests.yaml"
    done
}

# Its resource has no schema among those of Kubernetes.
service_monitor() {
    mkdir "$scratch/monitored"
    cp -r local/base local/overlays local/components "$scratch/monitored/"
    printf 'components:\n  - ../../components/service-monitor\n' >>"$scratch/monitored/overlays/3/kustomization.yaml"
    kubectl kustomize "$scratch/monitored/overlays/3" >"$scratch/monitored.yaml"
    grep -q '^kind: ServiceMonitor$' "$scratch/monitored.yaml"
}

# The program of the unit is not installed here: another takes its place. An unknown key is a warning, and fails the check as well.
unit() {
    local said
    sed 's|^ExecStart=/usr/bin/rumormill .*|ExecStart=/bin/true|' systemd/rumormill.service >"$scratch/rumormill.service"
    said=$(systemd-analyze verify "$scratch/rumormill.service" 2>&1)
    [ -z "$said" ] || {
        echo "$said"
        return 1
    }
}

sandbox() {
    systemd-analyze security --offline=true --threshold=30 --no-pager systemd/rumormill.service
}

rules() {
    promtool check rules monitoring/rules.yaml
    cd monitoring
    promtool test rules rules.test.yaml
}

binary=${RUMORMILL_BINARY:-}
for candidate in "$root/target/release/rumormill" "$root/target/debug/rumormill"; do
    if [ -z "$binary" ] && [ -x "$candidate" ]; then
        binary=$candidate
    fi
done

echo_names() {
    grep -oE 'rumormill_[a-z_]+' "$@" | sed 's/^.*://' | LC_ALL=C sort -u
}

# A node that keeps its rows has metrics that one with --memory lacks, and a request makes those of requests.
metrics() {
    local node http='' missing
    "$binary" serve --data-dir "$scratch/data" --listen 127.0.0.1:0 --redis off --http 127.0.0.1:0 --json >"$scratch/ready" 2>"$scratch/log" &
    node=$!
    # shellcheck disable=SC2064
    trap "kill $node 2>/dev/null || true" EXIT
    for _ in $(seq 100); do
        http=$(sed -n 's/.*"http":"\([^"]*\)".*/\1/p' "$scratch/ready")
        [ -z "$http" ] || break
        sleep 0.1
    done
    [ -n "$http" ] || {
        cat "$scratch/log"
        return 1
    }
    curl --silent --show-error --max-time 5 "http://$http/healthz" >/dev/null
    curl --silent --show-error --fail --max-time 5 "http://$http/metrics" >"$scratch/metrics"
    grep -v '^#' "$scratch/metrics" | grep -oE '^rumormill_[a-z_]+' | LC_ALL=C sort -u >"$scratch/there"
    echo_names monitoring/dashboard.json monitoring/rules.yaml >"$scratch/used"
    [ -s "$scratch/used" ]
    missing=$(LC_ALL=C comm -23 "$scratch/used" "$scratch/there")
    [ -z "$missing" ] || {
        echo "not in /metrics: $missing"
        return 1
    }
}

# Each alert is explained, and each that is explained exists.
alerts() {
    sed -n 's/^ *- alert: //p' monitoring/rules.yaml | LC_ALL=C sort >"$scratch/alerts"
    # shellcheck disable=SC2016
    sed -n 's/^| `\(Rumormill[A-Za-z]*\)` .*/\1/p' monitoring/README.md | LC_ALL=C sort >"$scratch/explained"
    [ -s "$scratch/alerts" ]
    diff "$scratch/alerts" "$scratch/explained"
}

template() {
    cfn-lint aws/template.yaml
}

# Every resource is created by a server that stands in for AWS, and that this check ends.
stack() {
    python3 aws/create-stack.py "$(command -v moto_server)"
}

check "shell scripts (shellcheck)" shellcheck scripts
check "Python programs (parsed)" python3 programs
check "pages say how their commands were checked" "" marks
check "container/Dockerfile (hadolint)" hadolint hadolint container/Dockerfile
check "compose (${compose[*]} config)" "${compose[0]}" compose_files
check "local (kubectl kustomize, kubernetes-validate --strict)" "kubectl kubernetes-validate" manifests
check "local: the component for the Prometheus operator (kubectl kustomize)" kubectl service_monitor
check "systemd unit (systemd-analyze verify)" systemd-analyze unit
check "systemd sandbox below 3.0 (systemd-analyze security)" systemd-analyze sandbox
check "alerts (promtool check and test rules)" promtool rules
check "alerts are explained" "" alerts
check "dashboard (parsed)" python3 python3 -m json.tool monitoring/dashboard.json
if [ -n "$binary" ]; then
    check "each metric of alerts and dashboard is in /metrics" curl metrics
else
    skip "each metric of alerts and dashboard is in /metrics" "no binary"
fi
check "aws template (cfn-lint)" cfn-lint template
check "aws stack (created on a moto server)" "moto_server python3" stack

echo "$passed ok, $failed failed, $skipped skipped"
if [ "$failed" -gt 0 ]; then
    exit 1
fi
if [ -n "$require_all" ] && [ "$skipped" -gt 0 ]; then
    exit 1
fi
