"""Tell whether files can be moved between two folders: only within one mount they can.

Equal device numbers prove nothing: between two bind mounts of one file system, and even of one
folder, the kernel refuses to rename.
"""

import os
from pathlib import Path

APART = "is on another file system or mount than active/; put both on one, or move the spool"


def apart(one: Path, other: Path) -> bool:
    """Tell whether two folders are on different mounts; where it cannot be told they are not."""
    here, there = _mount(one), _mount(other)
    return None not in (here, there) and here != there


def _mount(folder: Path) -> str | None:
    try:
        fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = Path(f"/proc/self/fdinfo/{fd}").read_text()
    except OSError:
        return None
    finally:
        os.close(fd)
    lines = (line.partition(":") for line in facts.splitlines())
    return next((value.strip() for key, _, value in lines if key == "mnt_id"), None)
