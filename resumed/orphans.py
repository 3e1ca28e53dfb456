"""End the processes that somebody's handler started and left behind.

A process whose parent ended becomes a child of the nearest ancestor that asked for it
(``PR_SET_CHILD_SUBREAPER``). Daemon and workers both ask, so that nothing a handler starts can
get away by a double fork or a session of its own, with or without a cgroup: whatever an
attempt leaves is a child of its worker, and whatever a dead worker leaves is a child of the
daemon. Linux only, like the whole program.
"""

import ctypes
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """Become the parent of every descendant whose own parent ends.

    Raises:
        OSError: The kernel cannot do it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def childless() -> bool:
    """Tell, by one cheap call, whether there is no child at all, not even a dead one."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def children(pid: int | str = "self") -> set[int]:
    """List the children of a process, the dead ones that nobody waited for included."""
    found: set[int] = set()
    # A thread may end between the listing and the reading; its children pass to another.
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, listing.read_bytes().split()))
    return found


def kill_once(spare: Collection[int]) -> set[int]:
    """Kill every child but *spare*, reap those that are dead, and return all of them.

    Does not wait. The dead may have left children, who are ours now: call it until it finds
    nobody. A child that we may not kill, being another user's, is not counted.
    """
    found: set[int] = set()
    for child in children().difference(spare):
        with suppress(ChildProcessError, ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)
            found.add(child)
            os.waitpid(child, os.WNOHANG)
    return found


def sweep(spare: Collection[int]) -> bool:
    """Repeat `kill_once` until it finds nobody, or for 20 ms; tell whether nobody is left."""
    for _ in range(20):
        if not kill_once(spare):
            return True
        time.sleep(0.001)
    return False


def kill_all(spare: Collection[int] = ()) -> None:
    """Kill and reap every child but *spare*, then their children, until nobody is left."""
    while not childless() and (killed := kill_once(spare)):
        for child in killed:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def end(pid: int, born_at: int) -> None:
    """Kill a process of before and all its descendants, if it is still the same process."""
    if born(pid) != born_at:
        return
    for each in (pid, *_descendants(pid)):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def born(pid: int) -> int | None:
    """Return when a process started, in ticks since the machine did; None if it is not there."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name of a program stands in brackets and may hold any character, brackets too.
    return int(stat.rpartition(b")")[2].split()[19])


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    todo = {pid}
    while todo:
        todo = set().union(*map(children, todo)) - found
        found |= todo
    return found
