#!/usr/bin/env bash
# Cuts one container of compose.yaml one way: it hears nothing that its peers send, and sends as before. Writes on both sides, and prints how long
# members differ and how long they take to be equal again.
#   one-way.sh [--seconds N]      how long the cut takes; 20
# Needs Linux, root, nsenter and iptables, since the rules are those of the container's network and the image has no tools.
# Exit code 1: the sides did not differ, or were not equal a minute after the cut. Exit code 2: wrong usage.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=.env
. "$here/.env"
engine=${ENGINE:-docker}

fail() {
    echo "one-way.sh: $1" >&2
    exit "${2:-1}"
}

seconds=20
if [ $# -gt 0 ]; then
    [[ $1 == --seconds && ${2:-} =~ ^[1-9][0-9]{0,3}$ && $# -eq 2 ]] || fail "usage: one-way.sh [--seconds N]" 2
    seconds=$2
fi

declare -A container port
while read -r service id; do
    container[$service]=$id
    address=$("$engine" port "$id" 7402/tcp | head -n 1)
    port[$service]=${address##*:}
done < <("$engine" ps --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
    --format '{{.Label "com.docker.compose.service"}} {{.ID}}')
if [ -z "${container[node-1]:-}" ] || [ ${#container[@]} -lt 3 ]; then
    fail "three containers of the project $COMPOSE_PROJECT_NAME have to run, node-1 among them"
fi

# put NODE KEY VALUE
put() {
    curl --silent --show-error --fail --max-time 5 -X PUT "http://127.0.0.1:${port[$1]}/v1/usr/one-way/$2" --data-binary "$3" >/dev/null
}

# value NODE KEY: the value, or nothing where there is none
value() {
    curl --silent --fail --max-time 5 "http://127.0.0.1:${port[$1]}/v1/usr/one-way/$2" || true
}

# equal KEY VALUE: on all members
equal() {
    local node
    for node in "${!container[@]}"; do
        [ "$(value "$node" "$1")" = "$2" ] || return 1
    done
}

# wait_equal KEY VALUE: prints the milliseconds that it took
wait_equal() {
    local begun now
    begun=$(date +%s%3N)
    until equal "$1" "$2"; do
        now=$(date +%s%3N)
        ((now - begun < 60000)) || fail "the members differ after a minute"
        sleep 0.1
    done
    now=$(date +%s%3N)
    echo $((now - begun))
}

process=$("$engine" inspect --format '{{.State.Pid}}' "${container[node-1]}")
rules() {
    nsenter --target "$process" --net iptables "$@"
}

# The peers' network carries the name that ends in `.peers`: the other members' addresses there are read from the engine.
network=$("$engine" network ls --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
    --filter label=com.docker.compose.network=peers --format '{{.Name}}')
subnet=$("$engine" network inspect --format '{{range .IPAM.Config}}{{.Subnet}}{{end}}' "$network")
[ -n "$subnet" ] || fail "the peers' network has no subnet"

run=$(date +%s)
put node-1 "$run-before" here
took=$(wait_equal "$run-before" here)
echo "before the cut: equal after $took ms"

trap 'rules -D INPUT -s "$subnet" -j DROP 2>/dev/null || true' EXIT
rules -A INPUT -s "$subnet" -j DROP
cut=$(date +%s%3N)
put node-1 "$run-one" inside
put node-2 "$run-two" outside
sleep "$seconds"
one=$(value node-2 "$run-one") two=$(value node-1 "$run-two")
echo "cut for $(($(date +%s%3N) - cut)) ms: node-1's write on node-2: ${one:-absent}; node-2's write on node-1: ${two:-absent}"
# A write of node-1 may arrive: its link carries bytes until it is given up for want of answers.
if [ -n "$two" ]; then
    fail "the cut cuts nothing"
fi

rules -D INPUT -s "$subnet" -j DROP
trap - EXIT
healed=$(date +%s%3N)
wait_equal "$run-one" inside >/dev/null
wait_equal "$run-two" outside >/dev/null
echo "healed: both writes on ${#container[@]} members after $(($(date +%s%3N) - healed)) ms"
