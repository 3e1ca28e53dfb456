"""Judge the systemd unit that runs an instance: what is dropped must not harm the rest.

The properties are those that are in force (`systemctl show`), drop-ins included, not those
of a file. The units that come with resumed have nothing to warn of.
"""

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from resumed import alive
from resumed.errors import ResumedError
from resumed.finding import Finding
from resumed.place import DEFAULT_FILE
from resumed.settings import Config

BOOTED = Path("/run/systemd/system")
_SECONDS = 10
_NO = frozenset({"", "no", "0", "false", "infinity"})
# Property, and what is so while it is not set. Beyond these the handler's needs decide.
_WANTED = (
    ("NoNewPrivileges", "a handler may gain rights by a setuid program"),
    ("ProtectSystem", "a handler may write to /usr and /etc, where rights allow it"),
    ("ProtectHome", "a handler sees everybody's home"),
    ("PrivateTmp", "a handler shares /tmp with all"),
    ("ProtectKernelTunables", "a handler may change the kernel's settings"),
    ("ProtectKernelModules", "a handler may load kernel modules"),
    ("ProtectControlGroups", "a handler may change control groups"),
    ("RestrictSUIDSGID", "a handler may leave setuid programs behind"),
    ("SystemCallFilter", "a handler may use every system call"),
    ("WatchdogUSec", "a daemon that hangs is not started again"),
)
_ALSO = ("LoadState", "User", "DynamicUser", "CapabilityBoundingSet", "Type")
_DANGEROUS = frozenset({"cap_sys_admin", "cap_sys_ptrace", "cap_sys_module", "cap_dac_override"})


def unit(config: Config) -> Iterator[Finding]:
    """Find the unit of an instance and judge it; say so where there is none."""
    if not BOOTED.is_dir():
        yield Finding("fine", "unit", "no systemd here: nothing restarts it, nothing confines it")
        return
    name = _unit_of(config)
    if name is None:
        yield Finding("fine", "unit", "no systemd unit runs this instance")
        return
    try:
        shown = _show(name)
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("warning", "unit", f"{name}: systemctl does not tell about it ({error})")
        return
    yield from judge(name, dict(line.split("=", 1) for line in shown.splitlines() if "=" in line))


def judge(unit: str, properties: Mapping[str, str]) -> Iterator[Finding]:
    """Say which protections are missing, and what that means."""
    if properties.get("LoadState") != "loaded":
        yield Finding("fine", "unit", f"no systemd unit runs this instance: {unit} is not there")
        return
    missing = [(name, why) for name, why in _WANTED if properties.get(name, "") in _NO]
    for name, why in missing:
        yield Finding("warning", "unit", f"{unit}: {name}= is not set, so {why}")
    user = properties.get("User", "")
    if user in ("", "root", "0") and properties.get("DynamicUser", "no") in _NO:
        yield Finding("warning", "unit", f"{unit}: handlers run as root; set User=")
    kept = _DANGEROUS & set(properties.get("CapabilityBoundingSet", "").lower().split())
    if kept:
        told = f"{unit}: handlers may have {', '.join(sorted(kept))}; set CapabilityBoundingSet="
        yield Finding("warning", "unit", told)
    if properties.get("Type") not in ("notify", "notify-reload", "oneshot"):
        yield Finding("warning", "unit", f"{unit}: Type=notify tells when it is really ready")
    if not missing:
        yield Finding("fine", "unit", f"{unit}: {len(_WANTED)} protections are in force")


def _unit_of(config: Config) -> str | None:
    """Name the unit: of the daemon that runs, else of the place where the file lies."""
    with suppress(OSError, ResumedError):
        pid = alive.probe(config.paths.lock, time.time()).pid
        if pid:
            for row in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                last = row.rpartition("/")[2]
                if last.endswith(".service") and "resumed" in last:
                    return last
    if config.file == DEFAULT_FILE:
        return "resumed.service"
    if config.file.parent == DEFAULT_FILE.parent:
        return f"resumed@{config.file.stem}.service"
    return None


def _show(unit: str) -> str:
    wanted = ",".join([*_ALSO, *(name for name, _ in _WANTED)])
    command = ["systemctl", "show", "--no-pager", f"--property={wanted}", "--", unit]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=True
    ).stdout
