"""Look at what strangers dropped without following, blocking, trusting or being killed.

A name that somebody else chose is resolved one component at a time below a folder that is
held open; no symlink is followed anywhere. A file is opened so that a FIFO does not block and
judged by its descriptor, never by its path. All functions raise plain `OSError`: what is
wrong with a stranger's file is data, not a fault of ours.
"""

import ctypes
import errno
import fcntl
import os
import signal
import stat
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

Kind: TypeAlias = Literal["folder", "symlink", "fifo", "socket", "device"]
Birth: TypeAlias = tuple[int, int]
Found = TypeVar("Found")

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: dict[int, Kind] = {
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_INO_BTIME = 0x100 | 0x800
_STATX_BYTES = 256


class Folder:
    """Hold a folder open, and notice when its path comes to mean another one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, _OPEN_FOLDER)

    def renew(self) -> Literal["same", "replaced", "missing", "refused"]:
        """Compare the path with what is held; hold the new folder when it was replaced.

        While the path is missing, or is a symlink or no folder ("refused"), the old folder
        stays open, and what is in it should be left alone.
        """
        try:
            fd = os.open(self.path, _OPEN_FOLDER)
        except FileNotFoundError:
            return "missing"
        except OSError:
            return "refused"
        if os.path.sameopenfile(fd, self.fd):
            os.close(fd)
            return "same"
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)
        return "replaced"

    def current(self) -> int:
        """Hold the folder that has the path now, and return its descriptor.

        Raises:
            FileNotFoundError: What was held was removed, and nothing can be held in its place.
        """
        self.renew()
        if not os.fstat(self.fd).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "was removed", str(self.path))
        return self.fd

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.fd)


def enter(root_fd: int, name: str) -> tuple[int, str]:
    """Return the open folder that *name* lies in and its last component; `leave` it after.

    Raises:
        OSError: A folder on the way is missing, a symlink, or not to be entered, or *name*
            tries to climb.
    """
    if "/" not in name:
        return root_fd, name
    *folders, last = name.split("/")
    fd = root_fd
    for folder in folders:
        try:
            if folder in ("", ".", ".."):
                raise FileNotFoundError(folder)
            below = os.open(folder, _OPEN_FOLDER, dir_fd=fd)
        finally:
            leave(fd, root_fd)
        fd = below
    return fd, last


def leave(fd: int, root_fd: int) -> None:
    """Close what `enter` returned, unless it is the root itself."""
    if fd != root_fd:
        os.close(fd)


def at(root_fd: int, name: str, call: Callable[[int, str], Found]) -> Found:
    """Call with the folder that *name* lies in, open, and the last component."""
    if "/" not in name:
        return call(root_fd, name)
    folder_fd, last = enter(root_fd, name)
    try:
        return call(folder_fd, last)
    finally:
        leave(folder_fd, root_fd)


def status_at(folder_fd: int, name: str) -> os.stat_result:
    """Look at a name itself, not at what a symlink points to."""
    return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)


def names_in(folder_fd: int) -> list[str]:
    """List an open folder."""
    return os.listdir(folder_fd)


def open_file(folder_fd: int, name: str) -> int:
    """Open for reading without following or blocking; ask `kind_of` its mode before use."""
    return os.open(name, _OPEN, dir_fd=folder_fd)


def kind_of(mode: int) -> Kind | None:
    """Name what is not a regular file, by its ``st_mode``."""
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode))


def has_writer(fd: int) -> bool | None:
    """Ask the kernel whether anybody has the file open for writing; None: it does not say.

    A read lease is taken and dropped at once. It is refused with EAGAIN while a writer is
    there, through whatever name or mapping. Any other refusal (a file of somebody else
    without CAP_LEASE, a file system without leases) says nothing. Call `ignore_lease_breaks`
    before the first time.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def ignore_lease_breaks() -> None:
    """Survive the SIGIO that a writer causes when it opens a file during the lease.

    Ignoring outlives an exec: whoever starts a program sets the signal back for it.
    """
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def birth_of(folder_fd: int, name: str) -> Birth | None:
    """Return inode and time of birth, a pair that is never used twice; None if not known.

    An inode's number alone is given to the next file as soon as the first is deleted.
    """
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    flags = _AT_SYMLINK_NOFOLLOW
    if _statx()(folder_fd, os.fsencode(name), flags, _STATX_INO_BTIME, buffer):
        return None
    (mask,) = struct.unpack_from("=I", buffer, 0)
    if mask & _STATX_INO_BTIME != _STATX_INO_BTIME:
        return None
    (inode,) = struct.unpack_from("=Q", buffer, 32)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, 80)
    return inode, seconds * 1_000_000_000 + nanoseconds


@cache
def _statx() -> "ctypes._NamedFuncPointer":
    statx = ctypes.CDLL(None, use_errno=True).statx
    statx.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_char_p,
    )
    return statx
