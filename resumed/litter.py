"""Open or remove folders that handlers leave, whatever modes they gave them.

What is unpacked or copied may bring folders along that are closed even to their owner: nothing
in them can be removed, and they cannot be moved, before they are opened.
"""

import os
from contextlib import suppress
from pathlib import Path

_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(parent_fd: int, name: str) -> None:
    """Remove a folder with all that is in it, following nothing; what resists is left."""
    from shutil import rmtree  # noqa: PLC0415 - slow to import and seldom needed

    rmtree(name, ignore_errors=True, dir_fd=parent_fd)
    if open_up(parent_fd, name, all_below=True):
        rmtree(name, ignore_errors=True, dir_fd=parent_fd)


def open_up(parent_fd: int, name: str, *, all_below: bool = False) -> bool:
    """Let its owner read, change and enter a folder; tell whether it is one, and ours."""
    try:
        fd = os.open(name, _OPEN, dir_fd=parent_fd)
    except OSError:
        return False
    try:
        # A descriptor of this kind, which any mode allows, has no other door to its modes.
        Path(f"/proc/self/fd/{fd}").chmod(os.fstat(fd).st_mode & 0o7777 | 0o700)
        if all_below:
            for below in _folders_in(fd):
                open_up(fd, below, all_below=True)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _folders_in(fd: int) -> list[str]:
    with suppress(OSError):
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            with os.scandir(readable) as entries:
                return [each.name for each in entries if each.is_dir(follow_symlinks=False)]
        finally:
            os.close(readable)
    return []
