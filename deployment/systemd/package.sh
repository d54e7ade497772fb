#!/usr/bin/env bash
# Makes a Debian package of a binary, the unit and an empty configuration.
#   package.sh BINARY DIR      writes DIR/rumormill_VERSION_ARCHITECTURE.deb and prints its path
# Installing starts nothing. Removing stops the node; neither removing nor purging touches the data.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

fail() {
    echo "package.sh: $1" >&2
    exit "${2:-1}"
}

[ $# -eq 2 ] || fail "usage: package.sh BINARY DIR" 2
binary=$1 out=$2
[ -x "$binary" ] || fail "$binary is no program"
[ -d "$out" ] || fail "$out is no directory"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 0755 "$tree"
version=$("$binary" --version | sed -n 's/^rumormill \([0-9][0-9.]*\)$/\1/p')
[ -n "$version" ] || fail "$binary does not tell its version"
architecture=$(dpkg --print-architecture)

install -D -m 0755 "$binary" "$tree/usr/bin/rumormill"
install -D -m 0644 "$here/rumormill.service" "$tree/lib/systemd/system/rumormill.service"
install -D -m 0644 "$here/node.toml" "$tree/etc/rumormill/node.toml"
install -D -m 0644 "$here/rumormill.service.d/node.conf" "$tree/usr/share/doc/rumormill/examples/node.conf"
{
    cat "$root/LICENSE-MIT"
    printf '\n\n'
    cat "$root/LICENSE-APACHE"
} | install -D -m 0644 /dev/stdin "$tree/usr/share/doc/rumormill/copyright"

# A binary with libraries needs those of the machine that built it, or later ones.
depends=''
if ldd "$binary" 2>/dev/null | grep -q '=>'; then
    library=$(dpkg-query --show --showformat '${Version}' libc6)
    depends="Depends: libc6 (>= ${library%%-*}), libgcc-s1"
fi

mkdir -p "$tree/DEBIAN"
{
    echo "Package: rumormill"
    echo "Version: $version"
    echo "Architecture: $architecture"
    echo "Maintainer: the authors of Rumormill <root@localhost>"
    echo "Section: database"
    echo "Priority: optional"
    [ -z "$depends" ] || echo "$depends"
    echo "Description: replicated key-value store"
    echo " A node that Redis clients, curl and its own command line can use. Each member holds"
    echo " every row, any member takes writes, and all converge on the same contents."
} >"$tree/DEBIAN/control"
echo /etc/rumormill/node.toml >"$tree/DEBIAN/conffiles"
cat >"$tree/DEBIAN/prerm" <<'PRERM'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now rumormill.service
fi
PRERM
for script in postinst postrm; do
    cat >"$tree/DEBIAN/$script" <<'RELOAD'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
RELOAD
done
chmod 0755 "$tree/DEBIAN/prerm" "$tree/DEBIAN/postinst" "$tree/DEBIAN/postrm"

package=$out/rumormill_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
echo "$package"
