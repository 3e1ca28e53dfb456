"""Prove, before anything depends on it, that files can be moved between the folders.

Equal device numbers prove nothing across bind mounts, and permission bits do not tell of
ACLs, read-only mounts and sandboxes. So a file of ours is really moved: from ``active/`` to
each other folder, and back. It has a temporary name, which a running daemon ignores.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from resumed import durable, mounts
from resumed.errors import StorageError
from resumed.settings import Paths

_FOLDERS = ("inbox", "hold", "done", "failed", "out")


def prove(paths: Paths) -> list[str]:
    """Return what is wrong, a sentence with its remedy each; nothing, when all moves succeed."""
    problems = []
    opened: dict[str, int] = {}
    for name in ("active", *_FOLDERS):
        path: Path = getattr(paths, name)
        try:
            opened[name] = durable.open_folder(path)
        except OSError as error:
            problems.append(f"{path}: {_not_opened(path, error)}")
    try:
        problems += [
            problem
            for name, fd in opened.items()
            for problem in _modes(name, getattr(paths, name), os.fstat(fd))
        ]
        if "active" in opened:
            problems += _moves(paths, opened)
    finally:
        for fd in opened.values():
            os.close(fd)
    return problems


def _not_opened(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such folder; make it, or mend [paths]"
    if isinstance(error, NotADirectoryError):
        kind = "a symlink" if path.is_symlink() else "no folder"
        return f"is {kind}; put a real folder there, or name the real one in [paths]"
    return f"cannot be opened: {_said(error)}; let {_user()} read and write it"


def _modes(name: str, path: Path, status: os.stat_result) -> list[str]:
    """Name modes that let others harm us, or keep us from files of others."""
    problems = []
    if name == "active" and status.st_mode & 0o077:
        problems.append(f"{path}: is open to others; run 'chmod 700 {path}'")
    ours = os.geteuid() in (0, status.st_uid)
    if name == "inbox" and status.st_mode & stat.S_ISVTX and not ours:
        problems.append(
            f"{path}: is sticky and not {_user()}'s, so files of others cannot be taken out; "
            f"run 'chown {_user()} {path}'"
        )
    return problems


def _moves(paths: Paths, opened: dict[str, int]) -> list[str]:
    active = opened["active"]
    trial = durable.TEMPORARY_PREFIX + os.urandom(8).hex()
    try:
        os.close(os.open(trial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=active))
    except OSError as error:
        return [f"{paths.active}: cannot be written to: {_said(error)}; {_remedy(error)}"]
    problems = []
    try:
        for name in _FOLDERS:
            if name in opened:
                problems += _there_and_back(active, trial, opened[name], getattr(paths, name))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(trial, dir_fd=active)
    return problems


def _there_and_back(active: int, trial: str, other: int, path: Path) -> list[str]:
    try:
        durable.move(active, trial, other, trial)
        durable.move(other, trial, active, trial)
    except (OSError, StorageError) as error:
        with suppress(OSError):
            os.unlink(trial, dir_fd=other)
        if error.errno == errno.EXDEV:
            return [f"{path}: {mounts.APART}"]
        fault = f"a file cannot be moved there and back: {_said(error)}"
        return [f"{path}: {fault}; {_remedy(error)}"]
    return []


def _remedy(error: OSError | StorageError) -> str:
    if error.errno == errno.EROFS:
        return "mount it for writing"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "make room there" if full else f"let {_user()} write to it"


def _said(error: OSError | StorageError) -> str:
    return os.strerror(error.errno or 0).lower()


def _user() -> str:
    from pwd import getpwuid  # noqa: PLC0415 - only a problem needs the name

    try:
        return getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
