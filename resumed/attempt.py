"""Hold what says that an attempt runs: a lock that ends with the last process of it.

An item's attempt has its folder ``active/ID`` to itself. The parts of a job share one folder,
which a worker keeps from part to part; it is gone once a later daemon had it to itself, and
so nobody can begin a part for a daemon that is dead.
"""

import errno
import os
from contextlib import suppress

from resumed import durable
from resumed.errors import LockedError
from resumed.wire import Assignment


class AttemptLocks:
    """The locks of one worker."""

    def __init__(self) -> None:
        self._shared = ("", -1)

    def take(self, assignment: Assignment, *, inherited: bool) -> int:
        """Lock for an attempt; return what to close after it, -1 when that is nothing.

        *inherited*: with it an orphan of a command shows that it is there.

        Raises:
            LockedError: Somebody else holds the lock.
            OSError: What is to be locked is not there.
        """
        if assignment.lock is None or self._shares(assignment):
            return -1
        fd = durable.open_folder(assignment.lock)
        try:
            durable.lock(fd, shared=assignment.job is not None)
        except LockedError:
            os.close(fd)
            raise
        if inherited:
            os.set_inheritable(fd, True)
        if assignment.job is None:
            return fd
        self._shared = (assignment.lock, fd)
        if not self._shares(assignment):
            raise FileNotFoundError(errno.ENOENT, "its job is closed", assignment.lock)
        return -1

    def _shares(self, assignment: Assignment) -> bool:
        """Tell whether what an earlier part locked is still this part's; else let go of it."""
        folder, fd = self._shared
        if fd < 0 or assignment.job is None:
            return False
        with suppress(OSError):  # a handler may have closed it
            if folder == assignment.lock and os.fstat(fd).st_nlink > 0:
                return True
            os.close(fd)
        self._shared = ("", -1)
        return False


def holds_only(folder_fd: int, assignment: Assignment) -> bool:
    """Tell whether the item's own folder, which `AttemptLocks.take` opened, has but its file."""
    # A handler may have closed the descriptor, and something else may have its number now.
    try:
        names = os.listdir(folder_fd) if folder_fd >= 0 else []
    except OSError:
        return False
    return len(names) == 1 and assignment.path.endswith(f"/{names[0]}")
