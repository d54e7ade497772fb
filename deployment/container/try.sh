#!/usr/bin/env bash
# Tries the image: a container without rights and with a read-only root is healthy within ten seconds, keeps a row over a restart, and ends with 0.
#   try.sh [IMAGE]      rumormill:local by default
# The engine is `docker`, or the one in ENGINE. Container and volume are removed at the end.
set -euo pipefail
engine=${ENGINE:-docker}
image=${1:-rumormill:local}
name=rumormill-try-$$

fail() {
    echo "try.sh: $1" >&2
    "$engine" logs "$name" >&2 || true
    exit 1
}

# Called by the trap.
# shellcheck disable=SC2317
end() {
    "$engine" rm --force "$name" >/dev/null 2>&1 || true
    "$engine" volume rm "$name" >/dev/null 2>&1 || true
}
trap end EXIT

# url PATH: of the node; the engine chooses another port at each start
url() {
    echo "http://$("$engine" port "$name" 7402/tcp | head -n 1)$1"
}

# within N WORDS COMMAND...: tries again and again for N seconds
within() {
    local begun=$SECONDS limit=$1 words=$2
    shift 2
    until "$@"; do
        ((SECONDS - begun < limit)) || fail "not $words within $limit s"
        sleep 0.2
    done
    echo "$words after $((SECONDS - begun)) s"
}

is_healthy() {
    [ "$("$engine" inspect --format '{{.State.Health.Status}}' "$name")" = healthy ]
}

reads_back() {
    [ "$(curl --silent --max-time 2 "$(url /items/greeting)")" = '{"value":"hello"}' ]
}

"$engine" run --detach --name "$name" --read-only --cap-drop ALL --security-opt no-new-privileges \
    --volume "$name:/data" --publish 127.0.0.1::7402 "$image" >/dev/null
within 10 "healthy" is_healthy
user=$("$engine" inspect --format '{{.Config.User}}' "$name")
case $user in
    '' | root | 0 | 0:*) fail "the node runs as root" ;;
esac
curl --silent --show-error --fail --max-time 5 -X PUT "$(url /items/greeting)" \
    -H 'Content-Type: application/json' -d '{"value": "hello"}' >/dev/null
"$engine" stop "$name" >/dev/null
code=$("$engine" inspect --format '{{.State.ExitCode}}' "$name")
[ "$code" = 0 ] || fail "the node ended with exit code $code"
echo "stopped with exit code 0"
"$engine" start "$name" >/dev/null
within 10 "the row is read back" reads_back
echo "user $user, read-only root, $("$engine" image inspect --format '{{.Size}}' "$image") bytes"
