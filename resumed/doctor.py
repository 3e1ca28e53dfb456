"""Try everything that an instance depends on, before its first start and when in doubt.

Nothing is left behind. What `resumed check` refuses is wrong here, too; beyond it there are
warnings, about what works and will surprise.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from resumed import durable, hardening, stranger, text, view, writers
from resumed.check import check
from resumed.errors import ResumedError
from resumed.finding import Finding
from resumed.model import instant
from resumed.settings import Config

MOUNTS = Path("/proc/self/mountinfo")
INOTIFY = Path("/proc/sys/fs/inotify")
_WITHOUT_EVENTS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "afs"})
_WITHOUT_MODES = frozenset({"vfat", "exfat", "msdos"})
_SLOW_IMPORT_SECONDS = 5.0
_FEW_INODES = 10_000
_EARLIEST = 1_700_000_000.0
_OCTAL = re.compile(rb"\\([0-7]{3})")


def examine(config: Config) -> Iterator[Finding]:
    """Yield what each trial finds, as it is found."""
    trials: tuple[Callable[[Config], Iterator[Finding]], ...] = (
        _user,
        _file_systems,
        _folders_and_handler,
        _lease,
        _watches,
        _space,
        _clock,
        hardening.unit,
    )
    for trial in trials:
        try:
            yield from trial(config)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            yield Finding("wrong", trial.__name__.strip("_"), f"{place}{error.strerror}")


def _user(config: Config) -> Iterator[Finding]:
    owner = config.paths.state.stat().st_uid
    if os.geteuid() != owner:
        told = f"you are {writers.user_of(os.geteuid())}, the state is of {writers.user_of(owner)}"
        yield Finding("warning", "user", f"{told}: try again as that user, rights may differ")


def _file_systems(config: Config) -> Iterator[Finding]:
    for name in ("inbox", "spool", "state"):
        path: Path = getattr(config.paths, name)
        kind = kind_of(path)
        if kind in _WITHOUT_EVENTS and name == "inbox":
            every = text.duration(config.rescan_seconds)
            sentence = (
                f"{kind} tells of no changes by others: they are found every {every}, by scan"
            )
            yield Finding("warning", name, sentence)
        elif kind in _WITHOUT_MODES:
            yield Finding("wrong", name, f"{kind} keeps no modes and no links: choose another disk")
        else:
            yield Finding("fine", name, f"on {kind}")


def kind_of(path: Path) -> str:
    """Name the kind of file system that *path* is on."""
    whole = os.path.realpath(path)
    best, kind = "", "an unknown file system"
    # Names may be any bytes but blanks, which the kernel writes as octal escapes.
    for row in filter(None, MOUNTS.read_bytes().split(b"\n")):
        left, _, right = row.partition(b" - ")
        escaped = left.split(b" ")[4]
        mounted = os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), escaped))
        inside = whole == mounted or whole.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(best):
            best, kind = mounted, right.split()[0].decode()
    return kind


def _folders_and_handler(config: Config) -> Iterator[Finding]:
    began = time.monotonic()
    mistakes = check(config)
    took = time.monotonic() - began
    for mistake in mistakes:
        yield Finding("wrong", "check", str(mistake))
    if not mistakes:
        verdict: Literal["fine", "warning"] = "warning" if took > _SLOW_IMPORT_SECONDS else "fine"
        told = f"folders, rights, moves and handler, tried in {text.duration(took)}"
        slow = ": an import that slow delays each new worker" if verdict == "warning" else ""
        yield Finding(verdict, "check", told + slow)


def _lease(config: Config) -> Iterator[Finding]:
    stranger.ignore_lease_breaks()
    inbox = durable.open_folder(config.paths.inbox)
    name = durable.TEMPORARY_PREFIX + os.urandom(8).hex()
    try:
        durable.write_whole(inbox, name, b"")
        fd = stranger.open_file(inbox, name)
        try:
            writer = stranger.has_writer(fd)
        finally:
            os.close(fd)
    finally:
        with suppress(OSError):
            os.unlink(name, dir_fd=inbox)
        os.close(inbox)
    if writer is None:
        sentence = "the kernel does not tell here who writes: settle must be long enough"
        yield Finding("warning", "lease", sentence)
    else:
        yield Finding("fine", "lease", "the kernel tells when a file is still being written")


def _watches(config: Config) -> Iterator[Finding]:
    limit = int((INOTIFY / "max_user_watches").read_text())
    needed = 1
    if config.recursive:
        needed = sum(1 for _ in os.walk(config.paths.inbox))
    if needed > limit // 2:
        sentence = f"{needed} folders of {limit} watches: raise fs.inotify.max_user_watches"
        yield Finding("warning", "inotify", sentence)
    else:
        yield Finding("fine", "inotify", f"{needed} of {limit} watches needed")


def _space(config: Config) -> Iterator[Finding]:
    for name in ("spool", "state"):
        disk = os.statvfs(getattr(config.paths, name))
        free = disk.f_bavail * disk.f_frsize
        if free < config.reserve_bytes:
            told = f"{text.size(free)} free, below reserve = {text.size(config.reserve_bytes)}"
            yield Finding("wrong", name, f"{told}: nothing is taken until there is more")
        elif disk.f_files > 0 and disk.f_favail < _FEW_INODES:
            yield Finding("warning", name, f"only {disk.f_favail} inodes are free")
        else:
            yield Finding("fine", name, f"{text.size(free)} free")


def _clock(config: Config) -> Iterator[Finding]:
    now = time.time()
    last = None
    with suppress(FileNotFoundError, ResumedError), view.open_journal(config.paths.journal) as file:
        for line in file:
            found = line.partition(b'"at":"')[2].partition(b'"')[0]
            last = instant(found.decode()) if found else last
    if now < _EARLIEST:
        yield Finding("wrong", "clock", "is years behind: ids and times would be wrong; set it")
    elif last is not None and last > now + 1:
        told = f"the journal's last record is {text.duration(round(last - now))} ahead"
        yield Finding("warning", "clock", f"{told}: was the clock set back?")
    else:
        yield Finding("fine", "clock", "is not behind the journal")
