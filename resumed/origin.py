"""Remember, until it is recorded, which subfolder of the inbox a file was claimed from.

A claim moves a file to ``active/ID/NAME`` before there is a record of it; of ``a/b/x`` a crash
between the two would leave only the ``x``. So a claim from a subfolder first makes a symlink
``active/ID.from`` that leads nowhere: its target is the inode of the file and the folder,
``1234:a/b``. It becomes durable together with the move, and speaks of the file with that
inode only, under whatever ID that is found.
"""

import os
from collections.abc import Container
from contextlib import suppress

from resumed import stranger

SUFFIX = ".from"


def note(active_fd: int, id_: str, name: str, inode: int) -> None:
    """Note where the file *name* comes from, before its move; durable as the move is.

    A folder whose name is too long for that is forgotten in a crash, and nothing else.
    """
    folder = name.rpartition("/")[0]
    if folder:
        forget(active_fd, id_, name)
        with suppress(OSError):
            os.symlink(f"{inode}:{folder}", id_ + SUFFIX, dir_fd=active_fd)


def forget(active_fd: int, id_: str, name: str) -> None:
    """Remove the note about *name*, if it is one that has a note."""
    if "/" in name:
        with suppress(OSError):  # the next start sweeps
            os.unlink(id_ + SUFFIX, dir_fd=active_fd)


def folders(active_fd: int) -> dict[int, str]:
    """Return the noted folders by inode, each with a slash at its end."""
    found = {}
    for name in stranger.names_in(active_fd):
        if name.endswith(SUFFIX):
            with suppress(OSError, ValueError):
                inode, _, folder = os.readlink(name, dir_fd=active_fd).partition(":")
                found[int(inode)] = f"{folder}/"
    return found


def sweep(active_fd: int, live: Container[str]) -> None:
    """Remove the notes about items that are not *live*."""
    for name in stranger.names_in(active_fd):
        id_ = name.removesuffix(SUFFIX)
        if id_ != name and id_ not in live:
            with suppress(OSError):
                os.unlink(name, dir_fd=active_fd)
