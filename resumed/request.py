"""Carry a person's wish to the daemon: one small file, put whole into ``requests/``.

A request is a JSON object of at most 64 KiB::

    {"verb":"retry","ids":["019a3c5d7e2-1f0c9b77aa"],"all":false,"fresh":false}

An id may be followed by ``#`` and the id of a part, when the item is a job. *with* names a
file that lies in the inbox, under a name that begins with ``.resumed-``: the job goes on
with it in place of its own file.

The verbs are retry, hold, release, remove and cancel, which are about items, and pause,
unpause and reload, which are about the whole. The file's owner is who asks: root and the
daemon's own user may ask everything, everybody else about files of their own. The answer is
an ``answered`` record that bears the file's name; then the file is removed. A request that
was not answered is answered by the next start.
"""

import errno
import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resumed import durable


class NotNowError(Exception):
    """Say why what was asked cannot be done in the state that things are in."""


ITEM_VERBS = frozenset({"retry", "hold", "release", "remove", "cancel"})
WHOLE_VERBS = frozenset({"pause", "unpause", "reload"})
LIMIT_BYTES = 1 << 16
_ITS_OWN_FAULT = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO}  # a symlink, a socket
SUFFIX = ".request"
_HALF_MADE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """Say what is asked, and by which user. *name* is the file's, and the answer's mark."""

    name: str
    owner: int
    verb: str
    ids: tuple[str, ...] = ()
    everything: bool = False
    fresh: bool = False
    replacement: str | None = None

    def items(self) -> dict[str, list[str]]:
        """Return the items that are named, with the parts of each that are."""
        named: dict[str, list[str]] = {}
        for each in self.ids:
            item_id, separator, part = each.partition("#")
            named.setdefault(item_id, []).extend([part] if separator else [])
        return named


@dataclass(frozen=True, slots=True)
class Refused:
    """Say why a file in the folder is no request."""

    name: str
    owner: int
    why: str


def submit(folder: Path, verb: str, *, ids: tuple[str, ...] = (), **options: bool | str) -> str:
    """Put a request into *folder*, whole and durable; return its name.

    Raises:
        OSError: The folder is missing, or closed to this user.
        StorageError: The disk refused.
    """
    content = json.dumps({"verb": verb, "ids": list(ids), **options}).encode()
    name = os.urandom(8).hex() + SUFFIX
    # The folder may be writable without being readable to us.
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        durable.drop(descriptor, name, (content,))
    finally:
        os.close(descriptor)
    return name


def names(folder_fd: int) -> list[str]:
    """List the requests that wait, the oldest first: the last of a person's wishes counts."""
    found = []
    for name in os.listdir(folder_fd):
        if name.endswith(SUFFIX):
            with suppress(OSError):  # gone
                about = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
                found.append((about.st_mtime_ns, name))
    return [name for _, name in sorted(found)]


def sweep(folder_fd: int, now: float) -> None:
    """Remove what an asker left half-made that was killed; a young one may still be written."""
    for name in os.listdir(folder_fd):
        if name.startswith(durable.TEMPORARY_PREFIX):
            with suppress(OSError):
                about = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
                if about.st_mtime < now - _HALF_MADE_SECONDS:
                    os.unlink(name, dir_fd=folder_fd)


def read(folder_fd: int, name: str) -> Request | Refused | None:
    """Read one request like any stranger's file; None when it is gone, or not now to be had."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(name, flags, dir_fd=folder_fd)
    except OSError as error:
        if error.errno not in _ITS_OWN_FAULT:
            return None
        return Refused(name, -1, f"cannot be opened: {error.strerror}")
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            return Refused(name, about.st_uid, "is not a regular file")
        content = os.read(file, LIMIT_BYTES + 1)
    except OSError as error:
        return Refused(name, -1, f"cannot be read: {error.strerror}")
    finally:
        os.close(file)
    return _parse(name, about.st_uid, content)


def discard(folder_fd: int, name: str) -> bool:
    """Remove an answered request; return False when it cannot be removed."""
    try:
        os.unlink(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _parse(name: str, owner: int, content: bytes) -> Request | Refused:
    if len(content) > LIMIT_BYTES:
        return Refused(name, owner, f"is longer than {LIMIT_BYTES} bytes")
    try:
        wish = json.loads(content)
    except (ValueError, RecursionError):
        return Refused(name, owner, "is not JSON")
    if not isinstance(wish, dict):
        return Refused(name, owner, "is not a JSON object")
    return _check(name, owner, wish)


def _check(name: str, owner: int, wish: dict[str, Any]) -> Request | Refused:
    verb, ids = wish.get("verb"), wish.get("ids", [])
    if not isinstance(verb, str) or verb not in ITEM_VERBS | WHOLE_VERBS:
        return Refused(name, owner, "asks for nothing that is known")
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        return Refused(name, owner, "'ids' is not a list of strings")
    everything, fresh = wish.get("all") is True, wish.get("fresh") is True
    if verb in ITEM_VERBS and not ids and not everything:
        return Refused(name, owner, "names no item")
    replacement = wish.get("with")
    if replacement is not None and (not _fit(replacement) or verb != "retry" or len(ids) != 1):
        return Refused(name, owner, "'with' is for one job, and names a '.resumed-' file")
    return Request(name, owner, verb, tuple(ids), everything, fresh, replacement)


def _fit(name: object) -> bool:
    return isinstance(name, str) and name.startswith(durable.TEMPORARY_PREFIX) and "/" not in name
