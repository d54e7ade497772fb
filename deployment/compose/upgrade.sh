#!/usr/bin/env bash
# Rolls an image over the containers of compose.yaml, one after the other, under load: clients that ask another member once see no failed write.
#   upgrade.sh [IMAGE]      rumormill:local by default
# A container is stopped and made anew with its volume. The next one follows when the node is ready and all members are alive in its eyes. In
# the end each acknowledged write has to be on every member.
# Exit code 1: a write failed or was lost, or a node was not ready within a minute; the containers after it were not touched.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=.env
. "$here/.env"
engine=${ENGINE:-docker}
if "$engine" compose version >/dev/null 2>&1; then
    compose=("$engine" compose)
else
    compose=(docker-compose)
fi
export RUMORMILL_IMAGE=${1:-rumormill:local}

fail() {
    echo "upgrade.sh: $1" >&2
    exit 1
}

"$engine" image inspect "$RUMORMILL_IMAGE" >/dev/null || fail "there is no image $RUMORMILL_IMAGE"
files=(-f "$here/compose.yaml")
[ ! -f "$here/compose.override.yaml" ] || files+=(-f "$here/compose.override.yaml")
services=() members=() https=()
while read -r service container; do
    redis=$("$engine" port "$container" 7401/tcp | head -n 1)
    http=$("$engine" port "$container" 7402/tcp | head -n 1)
    services+=("$service")
    https+=("$http")
    members+=("$redis/$http")
done < <("$engine" ps --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
    --format '{{.Label "com.docker.compose.service"}} {{.ID}}' | sort)
[ ${#services[@]} -ge 3 ] || fail "fewer than three containers of the project $COMPOSE_PROJECT_NAME run"

scratch=$(mktemp -d)
load=''
# Called by the trap.
# shellcheck disable=SC2317
end() {
    if [ -n "$load" ]; then
        kill "$load" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
trap end EXIT

# alive HTTP: the number of members that a node sees alive, once it is ready
alive() {
    curl --silent --fail --max-time 2 "http://$1/readyz" >/dev/null || return 0
    curl --silent --fail --max-time 2 "http://$1/metrics" | sed -n 's/^rumormill_members{state="alive"} //p'
}

touch "$scratch/load"
python3 "$here/load.py" write --retry --seconds $((20 * ${#services[@]})) --rate 100 --run "upgrade-$(date +%s)" \
    --acknowledged "$scratch/acknowledged" "${members[@]}" >"$scratch/load" &
load=$!
until grep -q 'the load begins' "$scratch/load"; do
    kill -0 "$load" 2>/dev/null || fail "the load did not begin"
    sleep 0.1
done
for at in "${!services[@]}"; do
    begun=$SECONDS
    "${compose[@]}" "${files[@]}" up --detach --no-deps --force-recreate "${services[at]}" >"$scratch/compose" 2>&1 || {
        cat "$scratch/compose" >&2
        fail "${services[at]} could not be made anew"
    }
    until [ "$(alive "${https[at]}")" = ${#services[@]} ]; do
        ((SECONDS - begun < 60)) || fail "${services[at]} is not ready within a minute"
        sleep 0.2
    done
    echo "${services[at]}: ready, and sees ${#services[@]} members alive, after $((SECONDS - begun)) s"
done
kill -0 "$load" 2>/dev/null || fail "the load ended before the upgrade did"
outcome=0
wait "$load" || outcome=$?
load=''
tail -n 1 "$scratch/load"
[ "$outcome" -eq 0 ] || fail "writes failed"
python3 "$here/load.py" check --wait 60 --acknowledged "$scratch/acknowledged" "${members[@]}"
