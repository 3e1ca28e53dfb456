#!/bin/sh
# Build the Debian package from an exported tree, never from the working one:
#
#     packaging/build-deb.sh [FOLDER]      put the .deb into FOLDER (default: dist)
#
# What is exported is REVISION (default: HEAD). VERSION, when set, replaces the version of the
# package: for trying an upgrade.
set -eu

tree=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-$tree/dist}"
target=$(cd "${1:-$tree/dist}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/resumed"
if git -C "$tree" rev-parse --git-dir >/dev/null 2>&1; then
    git -C "$tree" archive "${REVISION:-HEAD}" | tar -x -C "$work/resumed"
else
    cp -a "$tree/." "$work/resumed"
fi
cd "$work/resumed"
cp -a packaging/debian debian
if [ -n "${VERSION:-}" ]; then
    sed -i "1s/(.*)/($VERSION)/" debian/changelog
fi
# The system's own Python, whatever comes first in the caller's PATH
PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg-buildpackage --build=binary --no-sign \
    >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
cp "$work"/resumed_*.deb "$target"
ls "$target"/resumed_"${VERSION:-$(dpkg-parsechangelog --show-field Version)}"_all.deb
