"""Look at files of ours, and tell one that is gone from one that is not shown.

What is gone ends its item; so whatever else keeps us from seeing a file must not count as that.
"""

import os

from resumed import durable, litter, stranger
from resumed.arrival import identity_of
from resumed.errors import StorageError
from resumed.model import Identity


def identity_in(active_fd: int, id_: str, name: str) -> Identity | None:
    """Look at an item's file in ``active/ID``; None when it is gone, or no file.

    A folder that its handler closed is opened: what is in there is not gone.

    Raises:
        StorageError: The disk, or a folder that stays closed, does not show it.
    """
    place = f"{id_}/{name}"
    try:
        return _identity(stranger.status_at(active_fd, place))
    except PermissionError as error:
        if not litter.open_up(active_fd, id_):
            raise StorageError(f"{durable.path_of(active_fd)}/{place}", error) from error
    except OSError as error:
        none_or_raise(error, active_fd, place)
        return None
    return identity_at(active_fd, place)


def identity_at(folder_fd: int, name: str) -> Identity | None:
    """Look at a file; None when it is gone, or no file, or closed to us."""
    status = status_at(folder_fd, name)
    return None if status is None else _identity(status)


def status_at(folder_fd: int, name: str) -> os.stat_result | None:
    """Look at a name itself; None when there is nothing, or it is closed to us."""
    try:
        return stranger.status_at(folder_fd, name)
    except OSError as error:
        none_or_raise(error, folder_fd, name)
        return None


def none_or_raise(error: OSError, folder_fd: int, name: str) -> None:
    """Tell a file that is not there from one that the disk does not show.

    Raises:
        StorageError: It is the disk.
    """
    fault = durable.judged(error, folder_fd, name)
    if isinstance(fault, StorageError):
        raise fault from error


def _identity(status: os.stat_result) -> Identity | None:
    return None if stranger.kind_of(status.st_mode) else identity_of(status)
