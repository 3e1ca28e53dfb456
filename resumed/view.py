"""See what the daemon sees, from outside: replay its journal without lock or question.

The file may grow, be cut or be replaced by a shorter one while it is read. Then it is read
again, so that what is returned was at one moment the whole truth; and it is synced, through
our own descriptor, before anyone prints it: what was told survives a power cut.
"""

import os
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from resumed import compaction, durable, journal
from resumed.errors import (
    JournalCorruptError,
    JournalError,
    JournalVersionError,
    ResumedError,
    StorageError,
)
from resumed.journal import Reading
from resumed.ledger import Ledger, UnknownKindError
from resumed.model import Record
from resumed.paths import Paths
from resumed.skim import Skim

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TRIES = 50
_PAUSE_SECONDS = 0.02


class RefusedError(ResumedError):
    """Say that nothing matched, or that this user may not do it."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class View:
    """Hold what the journal adds up to; *reading* is None where there is no journal yet.

    *doubt* says why what was read may not survive a power cut. *unread* counts, by state, the items
    that are not in the ledger because nobody asked for them.
    """

    ledger: Ledger
    reading: Reading | None
    doubt: str | None = None
    unread: Mapping[str, int] = field(default_factory=dict)


def look(paths: Paths, states: Container[str] | None = None) -> View:
    """Replay the journal of an instance as it is now; of *states* only, which is quicker.

    Raises:
        JournalError: A person must look.
        RefusedError: This user may not read it.
    """
    for turn in range(_TRIES):
        try:
            seen = _look_once(paths.journal, states)
        except FileNotFoundError:
            if not os.path.lexists(paths.state / compaction.INITIALISED):
                return View(Ledger(), None)
            seen = JournalCorruptError(paths.journal, 0, "is missing, but was here before")
        except PermissionError as error:
            raise closed(paths.journal) from error
        if isinstance(seen, View):
            return seen
        if seen is not None and turn:
            raise seen
        time.sleep(_PAUSE_SECONDS)
    raise RefusedError(f"{paths.journal}: changes faster than it can be read; try again")


def closed(place: Path) -> RefusedError:
    """Say that *place* is not open to this user, and what to do."""
    return RefusedError(f"{place}: not open to you; use sudo, or join the group that owns it")


def open_journal(path: Path) -> BinaryIO:
    """Open a journal for reading; a symlink in its place is damage."""
    try:
        return open(os.open(path, _OPEN), "rb", buffering=1 << 18)  # noqa: PTH123 - a descriptor
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise JournalCorruptError(path, 1, f"cannot be opened ({error.strerror})") from error


def tally(
    path: Path, file: BinaryIO, ledger: Ledger, states: Container[str] | None = None
) -> tuple[Reading, Mapping[str, int]]:
    """Add up the records of an open journal; *path* is for messages.

    Returns how it was found, and how many items are in other than the wanted *states*.

    Raises:
        JournalError: There is damage, or a record makes no sense after those before it.
    """
    last = 0
    skim = Skim() if states is not None else None

    def apply(record: Record) -> None:
        nonlocal last
        last = record["n"]
        (skim or ledger).apply(record)

    try:
        if skim is None or states is None:
            return journal.judge(path, file, apply), {}
        reading = journal.judge(path, file, apply, skim.decode)
        return reading, skim.settle(file, ledger, states)
    except UnknownKindError as error:
        raise JournalVersionError(path, last, f"a record of an unknown kind, {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        fault = f"a record that contradicts those before it ({error})"
        raise JournalCorruptError(path, last, fault) from error


def _look_once(path: Path, states: Container[str] | None) -> View | JournalError | None:
    """Read once; None when the file was changed or replaced meanwhile, an error if not."""
    ledger = Ledger()
    with open_journal(path) as file:
        before = _face(os.fstat(file.fileno()))
        try:
            reading, unread = tally(path, file, ledger, states)
        except JournalError as error:
            return error if _face(os.fstat(file.fileno())) == before else None
        doubt = None
        try:
            durable.sync(file.fileno())
        except StorageError as error:
            doubt = str(error)
        now = os.fstat(file.fileno())
        with suppress(FileNotFoundError):
            if path.stat().st_ino == now.st_ino and now.st_size >= reading.length_bytes:
                return View(ledger, reading, doubt, unread)
    return None


def _face(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


class Follower:
    """Read a journal as it grows, on into the file that replaces it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._rest = b""
        self.switched = False

    def poll(self) -> list[bytes]:
        """Return the whole lines that came since the last time, on the disk by now.

        *switched* tells that the first of them begins another file, whose first lines retell.

        Raises:
            FileNotFoundError: There is no journal.
        """
        self.switched = False
        if self._file < 0:
            self._open()
        found = self._read()
        if not found and self._replaced():
            os.close(self._file)
            self._open()
            found = self._read()
        if found:
            durable.sync(self._file)
        return found

    def records(self) -> Iterator[Record]:
        """Decode what `poll` returns; what is no sound line is passed over."""
        yield from filter(None, map(journal.unseal, self.poll()))

    @property
    def unfinished(self) -> int:
        """Count the bytes after the last whole line."""
        return len(self._rest)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self._file = os.open(self._path, _OPEN)
        self._rest = b""
        self.switched = True

    def _read(self) -> list[bytes]:
        pieces = [self._rest]
        while piece := os.read(self._file, 1 << 20):
            pieces.append(piece)
        *lines, self._rest = b"".join(pieces).split(b"\n")
        return [line + b"\n" for line in lines]

    def _replaced(self) -> bool:
        with suppress(FileNotFoundError):
            return self._path.stat().st_ino != os.fstat(self._file).st_ino
        return False
