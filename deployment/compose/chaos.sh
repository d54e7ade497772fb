#!/usr/bin/env bash
# Injects faults into the containers of compose.yaml under load, and looks for each acknowledged write on every member in the end.
#   chaos.sh [--seconds N] [--seed N] [--rate N]
#   chaos.sh --check          looks for the writes of the run before once more, as after `down` and `up`
# --seconds  how long the load and the faults take, at least 10; 60
# --seed     chooses the faults; the time by default
# --rate     writes a second through each member, at most; 100
# Faults come one after the other: a container is cut from the peers' network, killed, paused or restarted, for one to five seconds.
# Exit code 1: a write was lost, or the members differ a minute after the last fault. Exit code 2: wrong usage.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=.env
. "$here/.env"
engine=${ENGINE:-docker}

fail() {
    echo "chaos.sh: $1" >&2
    exit "${2:-1}"
}

seconds=60 seed=$(($(date +%s) % 32768)) rate=100 check_only=''
while [ $# -gt 0 ]; do
    case $1 in
        --check)
            check_only=yes
            shift
            continue
            ;;
        --seconds | --seed | --rate) [[ ${2:-} =~ ^[1-9][0-9]{0,5}$ ]] || fail "$1 needs a number from 1 to 999999" 2 ;;
        *) fail "$1 is no option" 2 ;;
    esac
    case $1 in
        --seconds) seconds=$2 ;;
        --seed) seed=$2 ;;
        --rate) rate=$2 ;;
    esac
    shift 2
done
[ "$seconds" -ge 10 ] || fail "--seconds is at least 10" 2
state=${RUMORMILL_CHAOS_STATE:-${TMPDIR:-/tmp}/$COMPOSE_PROJECT_NAME-chaos}
mkdir -p "$state"

# The services, their containers and their published ports, in the order of the services.
services=() containers=() members=()
find_members() {
    local service container redis http
    while read -r service container; do
        redis=$("$engine" port "$container" 7401/tcp | head -n 1)
        http=$("$engine" port "$container" 7402/tcp | head -n 1)
        services+=("$service")
        containers+=("$container")
        members+=("$redis/$http")
    done < <("$engine" ps --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --format '{{.Label "com.docker.compose.service"}} {{.ID}}' | sort)
    [ ${#services[@]} -ge 2 ] || fail "fewer than two containers of the project $COMPOSE_PROJECT_NAME run: compose up first"
}

check() {
    python3 "$here/load.py" check --wait 60 --acknowledged "$state/acknowledged" "${members[@]}"
}

find_members
if [ -n "$check_only" ]; then
    [ -s "$state/acknowledged" ] || fail "no run before this one was recorded in $state"
    check
    exit
fi

network=$("$engine" network ls --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
    --filter label=com.docker.compose.network=peers --format '{{.ID}}')
[ -n "$network" ] || fail "the project has no network of peers"

# The command that ends the fault which is on, for an exit in the middle of it.
heal=(true)
load=''
# Called by the trap.
# shellcheck disable=SC2317
end() {
    "${heal[@]}" >/dev/null || echo "chaos.sh: this fault is still on; end it by: ${heal[*]}" >&2
    if [ -n "$load" ]; then
        kill "$load" 2>/dev/null || true
    fi
}
trap end EXIT
trap 'exit 130' INT TERM

# fault KIND NUMBER: of the container
fault() {
    local container=${containers[$2]} service=${services[$2]}
    case $1 in
        partition)
            heal=("$engine" network connect --alias "$service.peers" "$network" "$container")
            "$engine" network disconnect "$network" "$container"
            ;;
        kill)
            heal=("$engine" start "$container")
            "$engine" kill "$container" >/dev/null
            ;;
        pause)
            heal=("$engine" unpause "$container")
            "$engine" pause "$container" >/dev/null
            ;;
        restart)
            heal=("$engine" start "$container")
            "$engine" stop -t 10 "$container" >/dev/null
            ;;
    esac
    sleep $((1 + RANDOM % 5))
    "${heal[@]}" >/dev/null
    heal=(true)
}

RANDOM=$seed
rm -f "$state/load"
touch "$state/load"
echo "seed $seed, $seconds seconds, ${#services[@]} members: ${services[*]}"
python3 "$here/load.py" write --seconds "$seconds" --rate "$rate" --run "$(date +%s)" \
    --acknowledged "$state/acknowledged" "${members[@]}" >"$state/load" &
load=$!
until grep -q 'the load begins' "$state/load"; do
    kill -0 "$load" 2>/dev/null || { load=''; fail "the load did not begin"; }
    sleep 0.1
done

# Each round has every kind once, in an order of its own, so that a run of four faults or more has seen all. (The bash of macOS has no
# associative arrays.)
kinds=(partition kill pause restart)
injected=(0 0 0 0)
round=''
# The last fault ends before the load does.
until_second=$((SECONDS + seconds - 7))
while ((SECONDS < until_second)); do
    [ -n "$round" ] || round=0123
    at=$((RANDOM % ${#round}))
    kind=${round:at:1}
    round=${round:0:at}${round:at+1}
    fault "${kinds[kind]}" $((RANDOM % ${#services[@]}))
    injected[kind]=$((injected[kind] + 1))
    sleep "0.$((RANDOM % 10))"
done
outcome=0
wait "$load" || outcome=$?
load=''
echo "faults: ${injected[0]} partitions, ${injected[1]} kills, ${injected[2]} pauses, ${injected[3]} restarts"
tail -n 1 "$state/load"
[ "$outcome" -eq 0 ] || fail "the load failed"
check
