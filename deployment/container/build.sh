#!/usr/bin/env bash
# Builds a static binary and an image of nothing else, offline, from the workspace.
#   build.sh [--tag NAME] [--binary FILE] [--max-bytes N]
#     --tag        the image's name; rumormill:local
#     --binary     a static Linux binary that exists, instead of a build
#     --max-bytes  the largest image that is right; 18000000
# The engine is `docker`, or `podman` where that is absent, or the one in ENGINE.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

fail() {
    echo "build.sh: $1" >&2
    exit "${2:-1}"
}

tag=rumormill:local binary='' max_bytes=18000000
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value, or is no option" 2
    case $1 in
        --tag) tag=$2 ;;
        --binary) binary=$2 ;;
        --max-bytes) max_bytes=$2 ;;
        *) fail "$1 is no option" 2 ;;
    esac
    shift 2
done

engine=${ENGINE:-}
if [ -z "$engine" ]; then
    engine=$(command -v docker || command -v podman) || fail "no container engine: neither docker nor podman is here"
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

# The C library is linked into the binary as well: the image has none.
build_static() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    case $host in
        *-linux-gnu) ;;
        *) fail "a static binary is built on Linux with the gnu target, and this is $host: give one with --binary" ;;
    esac
    (
        cd "$root"
        RUSTFLAGS='-C target-feature=+crt-static' CARGO_PROFILE_RELEASE_STRIP=symbols \
            cargo build --release --locked --offline --package rumormill-daemon --bin rumormill \
            --target "$host" --target-dir target/container
    )
    binary=$root/target/container/$host/release/rumormill
}

[ -n "$binary" ] || build_static
[ -f "$binary" ] || fail "$binary is no file"
install -m 0755 "$binary" "$context/rumormill"
mkdir "$context/data"
(
    cd "$root"
    cargo tree --locked --offline --package rumormill-daemon --edges normal --prefix none --format '{p} {l}'
) | sed -e 's/ (\*)$//' -e 's| (/[^)]*)||' | LC_ALL=C sort -u >"$context/components.txt"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
revision=$(git -C "$root" rev-parse HEAD)
"$engine" build --quiet --tag "$tag" --file "$root/deployment/container/Dockerfile" \
    --build-arg VERSION="$version" --build-arg REVISION="$revision" "$context" >/dev/null

# A binary that needs a loader or a library cannot start in this image.
reported=$("$engine" run --rm --network none --read-only "$tag" --version) || fail "the binary does not start in the image: is it static?"
bytes=$("$engine" image inspect --format '{{.Size}}' "$tag")
echo "$tag: $reported, revision $revision, $bytes bytes"
[ "$bytes" -le "$max_bytes" ] || fail "the image is larger than $max_bytes bytes"
