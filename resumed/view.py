"""See what the daemon sees, from outside: replay its journal without lock or question.

The file may grow, be cut or be replaced by a shorter one while it is read. Then it is read
again, so that what is returned was at one moment the whole truth; and it is synced, through
our own descriptor, before anyone prints it: what was told survives a power cut.
"""

import os
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Self

from resumed import bookmark, compaction, durable, journal
from resumed.bookmark import Bookmark
from resumed.errors import (
    JournalCorruptError,
    JournalError,
    JournalVersionError,
    ResumedError,
    StorageError,
)
from resumed.ledger import Ledger, UnknownKindError
from resumed.model import NOTHING_READ, Reading, Record
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


def tally(path: Path, file: BinaryIO, ledger: Ledger) -> Reading:
    """Add up the records of an open journal; *path* is for messages.

    Raises:
        JournalError: There is damage, or a record makes no sense after those before it.
    """
    with _Sense(path, ledger.apply) as sense:
        return journal.judge(path, file, sense.apply)


class _Sense:
    """Say of what cannot be added up in which line it is."""

    def __init__(self, path: Path, apply: journal.Apply, line: int = 0) -> None:
        self._path, self._apply, self._line = path, apply, line

    def apply(self, record: Record) -> None:
        self._line = record["n"]
        self._apply(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, UnknownKindError):
            fault = f"a record of an unknown kind, {error}"
            raise JournalVersionError(self._path, self._line, fault) from error
        if isinstance(error, KeyError | TypeError | ValueError):
            fault = f"a record that contradicts those before it ({error})"
            raise JournalCorruptError(self._path, self._line, fault) from error


def _read(path: Path, file: BinaryIO, states: Container[str] | None) -> tuple[View, Skim | None]:
    """Read an open journal; return what was skimmed, too, where that is worth a bookmark."""
    if states is None:
        ledger = Ledger()
        return View(ledger, tally(path, file, ledger)), None
    known = bookmark.find(path, file)
    if known is not None:
        with suppress(JournalError):  # all is read again before anything is said against it
            return _skim(path, file, states, known)
    return _skim(path, file, states, None)


def _skim(
    path: Path, file: BinaryIO, states: Container[str], known: Bookmark | None
) -> tuple[View, Skim | None]:
    skim, ledger = Skim(known), Ledger()
    since = known.reading if known else NOTHING_READ
    file.seek(since.length_bytes)
    with _Sense(path, skim.apply, since.last) as sense:
        reading = journal.judge(path, file, sense.apply, skim.decode, since)
        unread = skim.settle(file, ledger, states)
    fresh = reading.length_bytes - since.length_bytes
    worth = fresh >= bookmark.WORTH_BYTES and reading.torn is None
    return View(ledger, reading, None, unread), skim if worth else None


def _look_once(path: Path, states: Container[str] | None) -> View | JournalError | None:
    """Read once; None when the file was changed or replaced meanwhile, an error if not."""
    with open_journal(path) as file:
        before = os.fstat(file.fileno())
        try:
            view, skim = _read(path, file, states)
        except JournalError as error:
            return error if _face(os.fstat(file.fileno())) == _face(before) else None
        try:
            durable.sync(file.fileno())
        except StorageError as error:
            view, skim = replace(view, doubt=str(error)), None
        now = os.fstat(file.fileno())
        with suppress(FileNotFoundError):
            length = view.reading.length_bytes if view.reading else 0
            if path.stat().st_ino == now.st_ino and now.st_size >= length:
                if skim and view.reading:
                    seen_ns = before.st_mtime_ns if before.st_size == length else 0
                    bookmark.keep(path, file, skim.mark(view.reading), seen_ns)
                return view
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
