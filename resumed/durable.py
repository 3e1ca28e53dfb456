"""Write, sync, move and lock so that what was acknowledged survives a power cut.

The only home of the calls that ask the disk for something: everything else says *what* must
last, this module knows *how*. Places are a folder's descriptor and a name in it, so that no
symlink that somebody puts into a path is ever followed.

Three rules hold for every function:

- A file appears whole under its name, or not at all, and never takes a name that is in use
  (except in `replace`, which is for files that are ours alone).
- What the file itself or its name is the reason for (taken, missing, not permitted, on another
  file system) is raised as the plain `OSError`. Everything else means that the disk refused:
  `StorageError`, after which nothing may be tried again in place, because a second fsync
  returns success without having written what the first one lost.
- A move is durable only after `sync_folder` on both folders, the destination first: a power
  cut between the two then leaves the file under both names or under one, never under none.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from resumed.errors import LockedError, StorageError

NAME_LIMIT_BYTES = 255
TEMPORARY_PREFIX = ".resumed-"

_RENAME_NOREPLACE = 1
_NEW = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_EXTENSION_LIMIT_BYTES = 32
_ABOUT_THE_FILE = frozenset(
    {errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EXDEV}
    | {errno.ENOTDIR, errno.EISDIR, errno.EBUSY, errno.ETXTBSY, errno.ENAMETOOLONG, errno.ELOOP}
)


def write_all(fd: int, content: bytes) -> None:
    """Write every byte of *content*, however short the single writes are."""
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError as error:
        raise StorageError(path_of(fd), error) from error


def sync(fd: int) -> None:
    """Make the bytes and the length of a file durable; other attributes may lag behind."""
    try:
        os.fdatasync(fd)
    except OSError as error:
        raise StorageError(path_of(fd), error) from error


def sync_folder(fd: int) -> None:
    """Make the names in a folder, or all of a file, durable."""
    try:
        os.fsync(fd)
    except OSError as error:
        raise StorageError(path_of(fd), error) from error


def sync_filesystem(fd: int) -> None:
    """Make everything on the file system that *fd* is on durable, in one go.

    Cheaper than syncing one by one from about a dozen files on. Needs Linux 5.8 to report
    errors; older kernels wait for the disk but keep its complaints to themselves.
    """
    if _libc().syncfs(fd):
        error = _errno_error(path_of(fd))
        raise StorageError(path_of(fd), error) from error


def move(source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Rename without replacing; durable after `sync_folder` on target, then on source.

    A plain rename would replace *target*, and between two links of one file it does nothing
    and reports success; this one raises `FileExistsError` for both. A file system that
    cannot do it in one step gets a link and an unlink, for files only.

    Raises:
        OSError: The names are the reason; see the module's docstring.
        StorageError: The disk refused.
    """
    old, new = os.fsencode(source), os.fsencode(target)
    if not _libc().renameat2(source_fd, old, target_fd, new, _RENAME_NOREPLACE):
        return
    error = _errno_error(source)
    if error.errno not in (errno.EINVAL, errno.ENOSYS):
        raise judged(error, source_fd, source)
    try:
        _link_and_unlink(source_fd, source, target_fd, target)
    except OSError as error:
        raise judged(error, source_fd, source) from None


def move_folder(parent_fd: int, source: str, target: str) -> None:
    """Rename a folder of ours beside itself; *target* must be new or an empty folder.

    Raises:
        OSError: *source* is missing, or *target* is not empty.
        StorageError: The disk refused.
    """
    try:
        os.rename(source, target, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
    except OSError as error:
        raise judged(error, parent_fd, source) from None


def move_free(source_fd: int, source: str, target_fd: int, target: str, spare: str) -> str:
    """Move like `move`, under `spare_name` when *target* is taken; return the name used."""
    name, turn = target, 1
    while True:
        try:
            move(source_fd, source, target_fd, name)
        except FileExistsError:
            name = spare_name(target, spare if turn == 1 else f"{spare}-{turn}")
            turn += 1
        else:
            return name


def spare_name(name: str, spare: str, after: str = "") -> str:
    """Return STEM~spare.EXT and *after*, the stem trimmed so that a file system accepts it."""
    dot = name.rfind(".")
    if dot <= 0 or len(os.fsencode(name[dot:])) > _EXTENSION_LIMIT_BYTES:
        dot = len(name)
    stem, extension = name[:dot], name[dot:]
    tail = f"~{spare}{extension}{after}"
    return trim(stem, NAME_LIMIT_BYTES - len(os.fsencode(tail))) + tail


def trim(name: str, limit_bytes: int) -> str:
    """Cut *name* to at most *limit_bytes* without halving a UTF-8 character."""
    encoded = os.fsencode(name)
    end = min(limit_bytes, len(encoded))
    # A continuation byte at the cut says that the character began at most three before.
    while max(0, limit_bytes - 4) < end < len(encoded) and encoded[end] & 0xC0 == 0x80:  # noqa: PLR2004
        end -= 1
    return os.fsdecode(encoded[:end])


def place(folder_fd: int, name: str, content: bytes, mode: int = 0o640) -> None:
    """Let a whole file appear under a free name; durable on return.

    Raises:
        FileExistsError: *name* is taken; nothing was changed.
        StorageError: The disk refused; a crash leaves at most a file with `TEMPORARY_PREFIX`.
    """
    for more in (True, True, False):  # who tidies may take the temporary file away
        try:
            drop(folder_fd, name, (content,), mode)
            break
        except FileExistsError:
            raise
        except OSError as error:
            if not (more and error.errno == errno.ENOENT):
                raise StorageError(_place(folder_fd, name), error) from error
    sync_folder(folder_fd)


def replace(folder_fd: int, name: str, content: bytes, mode: int = 0o640) -> None:
    """Exchange the content of a file that is ours alone, old or new whole; durable on return."""
    temporary = f".{name}.new"
    write_whole(folder_fd, temporary, content, mode)
    try:
        os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except OSError as error:
        raise StorageError(_place(folder_fd, name), error) from error
    sync_folder(folder_fd)


def drop(folder_fd: int, name: str, content: Iterable[bytes], mode: int = 0o640) -> None:
    """Let a whole file appear in somebody else's folder, which we may not be allowed to read.

    It is written piece by piece. The bytes are synced, the name is as durable as the folder's
    owner makes it.

    Raises:
        OSError: The folder is closed to us, or the disk is full.
    """
    temporary = TEMPORARY_PREFIX + os.urandom(8).hex()
    fd = os.open(temporary, _NEW | os.O_EXCL, mode, dir_fd=folder_fd)
    try:
        for piece in content:
            write_all(fd, piece)
        sync(fd)
        move(folder_fd, temporary, folder_fd, name)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder_fd)
        raise
    finally:
        os.close(fd)


def write_whole(folder_fd: int, name: str, content: bytes, mode: int = 0o640) -> None:
    """Write a file of ours, whatever was left under that name; its name is not yet durable."""
    fd = open_file(folder_fd, name, _NEW | os.O_TRUNC, mode)
    try:
        write_all(fd, content)
        sync(fd)
    finally:
        os.close(fd)


def supersede(folder_fd: int, fresh: str, name: str, previous: str) -> None:
    """Let *fresh* take the place of *name*, which stays as *previous*; durable on return.

    At no moment is *name* missing, and *fresh* must be synced before.

    Raises:
        StorageError: The disk refused.
    """
    try:
        with suppress(FileNotFoundError):
            os.unlink(previous, dir_fd=folder_fd)
        os.link(name, previous, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        os.rename(fresh, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except OSError as error:
        raise StorageError(_place(folder_fd, name), error) from error
    sync_folder(folder_fd)


def lock(fd: int, *, shared: bool = False) -> None:
    """Take a lock on an open file, for oneself unless *shared*, until its last descriptor closes.

    Raises:
        LockedError: Somebody else holds it.
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LockedError(path_of(fd)) from error
    except OSError as error:
        raise StorageError(path_of(fd), error) from error


def open_folder(path: str | os.PathLike[str], dir_fd: int | None = None) -> int:
    """Open a real folder; a symlink in its place raises `NotADirectoryError`."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def open_file(folder_fd: int, name: str, flags: int, mode: int = 0o640) -> int:
    """Open a file of ours; whatever hinders that is the disk's refusal."""
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder_fd)
    except OSError as error:
        raise StorageError(_place(folder_fd, name), error) from error


def path_of(fd: int) -> str:
    """Return where an open file or folder is now, for messages only."""
    with suppress(OSError):
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    return f"descriptor {fd}"


def _place(folder_fd: int, name: str) -> str:
    return f"{path_of(folder_fd)}/{name}"


def _link_and_unlink(source_fd: int, source: str, target_fd: int, target: str) -> None:
    try:
        os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except FileExistsError:
        # A crash after our link: the second half of that move is all that is missing.
        old = os.stat(source, dir_fd=source_fd, follow_symlinks=False)
        new = os.stat(target, dir_fd=target_fd, follow_symlinks=False)
        if not os.path.samestat(old, new):
            raise
    # Until the new name is durable, the old one is the only one a power cut leaves.
    sync_folder(target_fd)
    os.unlink(source, dir_fd=source_fd)


def judged(error: OSError, folder_fd: int, name: str) -> OSError | StorageError:
    """Tell a fault of the names from a fault of the disk."""
    if error.errno in _ABOUT_THE_FILE:
        return error
    return StorageError(_place(folder_fd, name), error)


def _errno_error(place_name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), place_name)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    place = (ctypes.c_int, ctypes.c_char_p)
    libc.renameat2.argtypes = (*place, *place, ctypes.c_uint)
    libc.syncfs.argtypes = (ctypes.c_int,)
    return libc
