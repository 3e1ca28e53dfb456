"""Gather what `status` tells: the daemon's life, the journal's sum, and the inbox at a glance.

The inbox may hold millions of names, so it is only counted for a moment; what is not a
regular file in it is named. Besides the journal there are two hints that may be missing or
old, and are believed only as far as they fit it: the marks of the workers (which step), and
`resumed.now` of the daemon (progress, and why the intake is paused).
"""

import os
import stat
import time
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from resumed import alive, mark, pace, view
from resumed import now as now_told
from resumed.alive import Life
from resumed.entry import Entry
from resumed.model import Record, Running
from resumed.pace import Pace
from resumed.paths import Paths
from resumed.view import View

COUNT_SECONDS = 0.03
NAMED_LIMIT = 20
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


@dataclass(slots=True)
class Inbox:
    """Count what lies in the inbox. *whole* is False when there was no time to count all.

    *names* are a few regular files, *strangers* what is no regular file and never taken.
    """

    files: int = 0
    whole: bool = True
    names: list[str] = field(default_factory=list)
    strangers: list[tuple[str, str]] = field(default_factory=list)
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Glance:
    """Hold all that one look at an instance finds; *now* is seconds since the epoch."""

    now: float
    life: Life
    view: View
    inbox: Inbox
    hints: Record
    pace: Pace

    @property
    def drained_at(self) -> float | None:
        """Return when a drain ended well, if it was the last that ran here: cron, not a daemon."""
        at = self.hints["now"].get("drained_at") if self.life.state == "down" else None
        return at if isinstance(at, float) else None

    @property
    def stopping(self) -> bool:
        """Tell whether the daemon was asked to stop, and lets what runs come to its end."""
        told, pid = self.hints["now"], self.life.pid
        if self.life.state != "up" or told.get("stopping") is not True:
            return False
        # What another process left behind when it was killed says nothing of this one.
        born = alive.started_at(pid) if pid else None
        return born is None or told.get("at", 0) >= born

    def told(self, entry: Entry) -> Record:
        """Return what worker and daemon tell of a running item beside the journal."""
        if not isinstance(entry.state, Running) or self.life.state == "down":
            return {}
        known: Record = dict(self.hints["steps"].get((entry.id, entry.state.attempt), {}))
        if known.get("step") in entry.steps:
            del known["step"]  # it is recorded, and the handler is on its way to the next
        progress = self.hints["now"].get("progress", {})
        if isinstance(progress, dict) and entry.id in progress:
            known["progress"] = progress[entry.id]
        return known


def look(paths: Paths, states: Container[str] | None = None) -> Glance:
    """Look at everything once; at the items in some *states* only, where the others just count.

    Raises:
        JournalError: A person must look at the journal.
        RefusedError: This user may not look.
    """
    now = time.time()
    # The journal last: it is what everything else is held against.
    around = live(paths, now), inbox(paths.inbox), hints(paths)
    return Glance(now, around[0], view.look(paths, states), *around[1:], pace.measure(paths, now))


def hints(paths: Paths) -> Record:
    """Read what workers and daemon tell beside the journal."""
    return {"steps": steps(paths), "now": now_told.read(paths.state)}


def disk(paths: Paths) -> tuple[int, int] | None:
    """Return the free bytes and all bytes of the spool's disk."""
    with suppress(OSError):
        about = os.statvfs(paths.spool)
        return about.f_bavail * about.f_frsize, about.f_blocks * about.f_frsize
    return None


def live(paths: Paths, now: float) -> Life:
    """Tell whether the daemon lives.

    Raises:
        RefusedError: This user may not look.
    """
    try:
        return alive.probe(paths.lock, now)
    except PermissionError as error:
        raise view.closed(paths.lock) from error


def inbox(folder: Path) -> Inbox:
    """Count what is in the inbox, for a moment."""
    found = Inbox()
    until = time.monotonic() + COUNT_SECONDS
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                _count(found, entry)
                if found.files % 1000 == 0 and time.monotonic() > until:
                    found.whole = next(entries, None) is None
                    break
    except OSError as error:
        found.fault = error.strerror
    found.names.sort()
    found.strangers.sort()
    return found


def names(folder: Path) -> Iterator[str]:
    """Yield the regular files in the inbox, in the order in which the folder has them."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield entry.name


def _count(found: Inbox, entry: "os.DirEntry[str]") -> None:
    if entry.is_file(follow_symlinks=False):
        found.files += 1
        if len(found.names) < NAMED_LIMIT:
            found.names.append(entry.name)
    elif len(found.strangers) < NAMED_LIMIT:
        with suppress(FileNotFoundError):
            mode = entry.stat(follow_symlinks=False).st_mode
            found.strangers.append((entry.name, _KINDS.get(stat.S_IFMT(mode), "stranger")))


def steps(paths: Paths) -> dict[tuple[str, int], Record]:
    """Read which step each attempt has reached, by the marks that workers leave."""
    found: dict[tuple[str, int], Record] = {}
    for path in _listed(paths.state / "marks"):
        for each in mark.read(path)[-1:]:
            found[each.id, each.attempt] = {"step": each.step, "worker": each.pid}
    return found


def _listed(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(folder.iterdir())
