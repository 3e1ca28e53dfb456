"""Tell whether files can be moved between two folders: only within one mount they can.

Equal device numbers prove nothing: between two bind mounts of one file system, and even of one
folder, the kernel refuses to rename.
"""

import os
from pathlib import Path

APART = "is on another file system or mount than active/; put both on one, or move the spool"
_FACTS_BYTES = 4096


def apart(one: Path, other: Path) -> bool:
    """Tell whether two folders are on different mounts; where it cannot be told they are not."""
    here, there = _mount(one), _mount(other)
    return None not in (here, there) and here != there


def _mount(folder: Path) -> bytes | None:
    """Return the number of the mount that a folder is on; asked often, so by plain calls."""
    try:
        fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = _facts(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    lines = (line.partition(b":") for line in facts.splitlines())
    return next((value.strip() for key, _, value in lines if key == b"mnt_id"), None)


def _facts(fd: int) -> bytes:
    told = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(told, _FACTS_BYTES)
    finally:
        os.close(told)
