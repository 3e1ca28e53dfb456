"""Find out who has a file open for writing, and whether a user may read it."""

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resumed.text import escape

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Writer:
    """A process that may still write."""

    pid: int
    program: str

    def __str__(self) -> str:
        """Name it as `ps` does."""
        return f"process {self.pid} ({self.program})"


def of_file(path: Path) -> list[Writer]:
    """List who has the file open for writing: one's own processes, or for root all."""
    try:
        wanted = path.stat(follow_symlinks=False)
    except OSError:
        return []
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                numbers = [each.name for each in (folder / "fd").iterdir()]
                if any(_writes(folder, number, wanted) for number in numbers):
                    name = (folder / "comm").read_text(errors="replace").rstrip("\n")
                    found.append(Writer(int(folder.name), escape(name)))
    return sorted(found, key=lambda writer: writer.pid)


def _writes(folder: Path, number: str, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        status = (folder / "fd" / number).stat()
        if (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino):
            return bool(_flags(folder / "fdinfo" / number) & (os.O_WRONLY | os.O_RDWR))
    return False


def _flags(path: Path) -> int:
    for line in path.read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8)
    return 0


def may_read(user: int, status: os.stat_result) -> bool:
    """Tell whether the mode of a file lets *user* read it; ACLs are not looked at."""
    if user in (0, status.st_uid):
        return user == 0 or bool(status.st_mode & stat.S_IRUSR)
    if status.st_gid in _groups(user):
        return bool(status.st_mode & stat.S_IRGRP)
    return bool(status.st_mode & stat.S_IROTH)


def _groups(user: int) -> Iterator[int]:
    with suppress(KeyError):
        about = pwd.getpwuid(user)
        yield from os.getgrouplist(about.pw_name, about.pw_gid)


def user_of(user: int | None) -> str:
    """Name a user by id."""
    if user is None:
        return "the daemon's user"
    with suppress(KeyError):
        return f"user {pwd.getpwuid(user).pw_name}"
    return f"user {user}"
