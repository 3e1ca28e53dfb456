"""Tell from outside whether the daemon lives, without disturbing it.

It holds a lock on ``STATE/lock`` as long as it lives, and touches that file each time its
main loop comes round, which it does every 30 s if nothing else wakes it. So a lock that nobody
holds means *down*, one that is held by a loop that has not come round for 75 s means *hung*: later
than the watchdog of the units, which ends such a daemon after 60 s, and so seen only where no
systemd looks after it. Who holds it is read from the kernel's
list: to try the lock would make a daemon fail that starts at that very moment.
"""

import fcntl
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resumed.orphans import born

HUNG_SECONDS = 75.0
LOCKS = Path("/proc/locks")

_PID, _PLACE = 4, 5


@dataclass(frozen=True, slots=True)
class Life:
    """Say how the daemon is; *pid* when it is there, *pulse_at* when its loop last turned."""

    state: Literal["up", "hung", "down"]
    pid: int | None
    pulse_at: float | None
    owner: int | None = None


def probe(lock: Path, now: float) -> Life:
    """Look at the lock file of an instance; *now* is seconds since the epoch.

    Raises:
        PermissionError: This user may not look into the folder.
    """
    try:
        status = lock.stat()
    except FileNotFoundError:
        return Life("down", None, None)
    pid = _holder(lock, status)
    if pid is None:
        return Life("down", None, status.st_mtime, status.st_uid)
    silent = now - status.st_mtime > HUNG_SECONDS
    return Life("hung" if silent else "up", pid or None, status.st_mtime, status.st_uid)


def started_at(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch; None when it is not there."""
    ticks = born(pid)
    if ticks is None:
        return None
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


def _holder(lock: Path, status: os.stat_result) -> int | None:
    """Return the process that holds the lock, 0 when that cannot be told, None for nobody."""
    try:
        rows = LOCKS.read_text().splitlines()
    except OSError:
        return _try(lock)
    ending = f":{status.st_ino}"
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    near = [row.split() for row in rows if f"{ending} " in row and "FLOCK" in row]
    holders = [fields for fields in near if fields[1] != "->" and fields[_PLACE].endswith(ending)]
    for fields in holders:
        if fields[_PLACE] == device + ending:
            return max(0, int(fields[_PID]))
    # Some file systems show programs another device number than the kernel's own.
    return _try(lock) if holders else None


def _try(lock: Path) -> int | None:
    with suppress(PermissionError):
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        finally:
            os.close(descriptor)
        return None
    return 0
