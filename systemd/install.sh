#!/bin/sh
# Make a service of a resumed that was installed by pip or pipx: see README.md beside this file.
#
#     install.sh [--remove]
#
# The units are the package's own; only the program's place in them is changed. They go below
# /usr/local/lib, where systemd looks and no package does. Root's alone, and repeatable.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
bin=${RESUMED_BIN:-$(cd "$here/../../../bin" && pwd)}
lib=${RESUMED_LIB:-/usr/local/lib}
units="resumed.service resumed@.service resumed-drain.service resumed-drain.timer resumed-drain.path"

if [ "${1:-}" = --remove ]; then
    systemctl disable --now resumed.service resumed-drain.timer resumed-drain.path || true
    for unit in $units; do rm -f "$lib/systemd/system/$unit"; done
    rm -f "$lib/sysusers.d/resumed.conf" "$lib/tmpfiles.d/resumed.conf" \
        "$lib/systemd/catalog/resumed.catalog"
    systemctl daemon-reload
    echo "removed; /etc/resumed, /var/lib/resumed, /var/spool/resumed and the user stay"
    exit
fi

case $bin in
/home/* | /root/* | /tmp/*)
    echo "$bin: the service sees neither homes nor /tmp; install into a place like /opt/resumed" >&2
    exit 78
    ;;
esac
"$bin/resumed" --version >/dev/null

mkdir -p "$lib/systemd/system" "$lib/systemd/catalog" "$lib/sysusers.d" "$lib/tmpfiles.d" /etc/resumed
for unit in $units; do
    sed -e "s,/usr/bin/resumed,$bin/resumed,g" -e "s,/usr/lib/tmpfiles.d,$lib/tmpfiles.d,g" \
        "$here/$unit" >"$lib/systemd/system/$unit"
done
cp "$here/resumed.sysusers" "$lib/sysusers.d/resumed.conf"
cp "$here/resumed.tmpfiles" "$lib/tmpfiles.d/resumed.conf"
cp "$here/resumed.catalog" "$lib/systemd/catalog/resumed.catalog"
if [ ! -e /etc/resumed/resumed.toml ]; then
    "$bin/python" -c 'from resumed import reference; print(reference.template("handler:process"), end="")' |
        sed 's/^handler = /#&/' >/etc/resumed/resumed.toml
fi

systemd-sysusers "$lib/sysusers.d/resumed.conf"
systemd-tmpfiles --create "$lib/tmpfiles.d/resumed.conf"
journalctl --update-catalog
systemctl daemon-reload
systemctl enable resumed.service
cat <<TEXT
Next: edit /etc/resumed/resumed.toml, then $bin/resumed check, then systemctl start resumed
For the two programs in everybody's PATH: ln -s $bin/resumed $bin/resumed-ctl /usr/local/bin/
TEXT
