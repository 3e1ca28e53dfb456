"""Look at what was put away below ``done/``, ``failed/`` or ``hold/``, and remove it again.

A file is missing when its name is not there, and only then: whoever cannot look (no
permission, no descriptor left) does not know, and must not take that for an answer.
"""

import os
import re
from collections import deque
from contextlib import suppress

from resumed import durable, litter, sidecar, stranger
from resumed.arrival import identity_of
from resumed.errors import StorageError
from resumed.model import Identity

_HALF_MADE = re.compile(re.escape(durable.TEMPORARY_PREFIX) + "[0-9a-f]{16}")
_NOTE_BYTES = 64 << 10
_MISSING = (FileNotFoundError, NotADirectoryError)


def open_below(root_fd: int, before: str, spare: str) -> tuple[int, str]:
    """Open the folder *before* below *root_fd*, making what is missing; durable on return.

    What is in the way, a file or a symlink, stays: the folder gets a spare name then.
    """
    fd, prefix = root_fd, ""
    for folder in before.split("/") if before else ():
        try:
            below, used = _made(fd, folder), folder
        except OSError:
            used = durable.spare_name(folder, spare)
            try:
                below = _made(fd, used)
            except OSError as error:
                raise StorageError(f"{durable.path_of(fd)}/{used}", error) from error
        stranger.leave(fd, root_fd)
        fd, prefix = below, f"{prefix}{used}/"
    return fd, prefix


def _made(parent_fd: int, name: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o750, dir_fd=parent_fd)
        durable.sync_folder(parent_fd)
    return durable.open_folder(name, dir_fd=parent_fd)


def find(root_fd: int, kept_as: str) -> Identity | None:
    """Look at a file below *root_fd*; None when it is gone, or no file.

    Raises:
        StorageError: Nobody can tell.
    """
    try:
        return stranger.at(root_fd, kept_as, _identity)
    except _MISSING:
        return None
    except OSError as error:
        raise StorageError(f"{durable.path_of(root_fd)}/{kept_as}", error) from error


def take(source_fd: int, name: str, target_fd: int, spare: str) -> str:
    """Move what lies in an item's folder; of a folder that its handler closed, open it first."""
    try:
        return durable.move_free(source_fd, name, target_fd, name, spare)
    except PermissionError:
        if not litter.open_up(source_fd, name):
            raise
        return durable.move_free(source_fd, name, target_fd, name, spare)


def unlinked(folder_fd: int, name: str) -> bool:
    """Unlink a file if it is there; a folder is nothing that anybody asked to delete."""
    try:
        os.unlink(name, dir_fd=folder_fd)
    except (FileNotFoundError, IsADirectoryError):
        return False
    except OSError as error:
        raise StorageError(durable.path_of(folder_fd), error) from error
    return True


def is_missing(folder_fd: int, name: str) -> bool:
    """Tell whether there is nothing of that name."""
    try:
        stranger.status_at(folder_fd, name)
    except FileNotFoundError:
        return True
    return False


def search(root_fd: int, id_: str, name: str, identity: Identity) -> str | None:
    """Find under which name a move that was not recorded has put a file away.

    Raises:
        StorageError: Nobody can tell.
    """
    before, slash, last = name.rpartition("/")
    for used in (last, durable.spare_name(last, id_), durable.spare_name(last, f"{id_}-2")):
        if find(root_fd, before + slash + used) == identity:
            return before + slash + used
    return None


def unlink(root_fd: int, kept_as: str, identity: Identity) -> bool:
    """Unlink a file, if it is still that file; durable on return.

    Raises:
        StorageError: The disk refused, or nobody can tell.
    """

    def remove(folder_fd: int, last: str) -> bool:
        if _identity(folder_fd, last) != identity:
            return False
        os.unlink(last, dir_fd=folder_fd)
        durable.sync_folder(folder_fd)
        return True

    try:
        return stranger.at(root_fd, kept_as, remove)
    except _MISSING:
        return False
    except OSError as error:
        raise StorageError(f"{durable.path_of(root_fd)}/{kept_as}", error) from error


def sweep(root_fd: int) -> None:
    """Remove the sidecars that a crash left half-made, in subfolders too; nothing else."""
    below = deque([""])
    while below:
        prefix = below.popleft()
        with suppress(OSError):
            folders = stranger.at(root_fd, prefix, _sweep)
            below.extend(f"{prefix}{folder}/" for folder in folders)


def _sweep(folder_fd: int, _: str) -> list[str]:
    """Sweep one folder and return those in it."""
    folders = []
    with os.scandir(folder_fd) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif _HALF_MADE.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_half(folder_fd, entry.name)
    return folders


def _remove_half(folder_fd: int, name: str) -> None:
    """Unlink what begins as a sidecar does; anything else of that name is somebody's file."""
    fd = stranger.open_file(folder_fd, name)
    try:
        regular = stranger.kind_of(os.fstat(fd).st_mode) is None
        content = os.read(fd, _NOTE_BYTES) if regular else b"no file"
    finally:
        os.close(fd)
    if sidecar.half_made(content):
        os.unlink(name, dir_fd=folder_fd)


def _identity(folder_fd: int, name: str) -> Identity | None:
    status = stranger.status_at(folder_fd, name)
    return None if stranger.kind_of(status.st_mode) else identity_of(status)
