"""Tell of a file system whether one sync of it is as good as one of each file.

`durable.sync_filesystem` makes everything durable in the time of a single sync, but not every
file system says what went wrong: an overlay or a network may keep the disk's complaints to
itself. So for a journal it is trusted where it is known to tell.
"""

import ctypes
import os
from functools import cache
from pathlib import Path

_EXT, _XFS = 0xEF53, 0x58465342
_TOLD_SINCE = (5, 8)
_STATFS_BYTES = 256


def covers(*places: Path) -> bool:
    """Tell whether one sync makes all of *places* durable, and reports if it could not."""
    if _release(os.uname().release) < _TOLD_SINCE:
        return False
    devices = {place.stat().st_dev for place in places}
    return len(devices) == 1 and _type(os.fsencode(places[0])) in (_EXT, _XFS)


def _release(text: str) -> tuple[int, ...]:
    numbers = text.partition("-")[0].split(".")[:2]
    return tuple(int(each) for each in numbers if each.isdecimal())


def _type(path: bytes) -> int | None:
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc().statfs(path, buffer):
        return None
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
