"""Keep one job's journal open: read what others wrote, write, and find what is in it.

Whoever reads or writes holds the file's lock, and what is written under it is synced before
it is let go; `resumed.progress.embedded` sees to both.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from resumed import compaction, durable, journal
from resumed.errors import JournalCorruptError, JournalVersionError, LockedError
from resumed.journal import Journal
from resumed.model import Fact, Reading, Record, instant
from resumed.progress.parts import Parts, decode, encode, number_of
from resumed.progress.remaining import UNTRIED, Remaining, apply_line

_TOGETHER = 64
_TOGETHER_BYTES = 512 * 1024
_RECORDS_KEPT = 16
_TURN_SECONDS = 0.0005


class _Placed:
    """Read lines, and remember where the last one began."""

    def __init__(self, file: BinaryIO, end: int = 0) -> None:
        self._file = file
        self.place, self.end = end, end
        self.fileno, self.seek = file.fileno, file.seek

    def readline(self, limit: int) -> bytes:
        """Read one line."""
        line = self._file.readline(limit)
        self.place, self.end = self.end, self.end + len(line)
        return line


class JobFile:
    """Know one job as its journal tells it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remaining = Remaining()
        self._writer: Journal | None = None
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115, PTH123 - until close()
        self._records: dict[int, Record] = {}
        try:
            self._reading = self._load()
        except BaseException:
            self.close()
            raise

    def is_at(self, lock: int) -> bool:
        """Tell whether this is the file that *lock* is on."""
        return os.path.samestat(os.fstat(lock), os.fstat(self._file.fileno()))

    def catch_up(self) -> bool:
        """Take in what others wrote; False if there is damage, and the file is to be reloaded."""
        size = os.fstat(self._file.fileno()).st_size
        if size == self._length_bytes:
            return True
        self._drop_writer()
        if size < self._reading.length_bytes:
            return False
        self._file.seek(self._reading.length_bytes)
        placed = _Placed(self._file, self._reading.length_bytes)
        last = self._reading.last
        for line in iter(lambda: placed.readline(journal.LINE_LIMIT_BYTES), b""):
            record = journal.unseal(line)
            if not record or record["n"] != last + 1 or record["g"] != self._reading.generation:
                return False
            apply_line(self.remaining, record, placed.place)
            last += 1
        self._reading = replace(self._reading, last=last, length_bytes=placed.end, torn=None)
        return True

    def record(self, kind: str, at: float, particulars: Record) -> None:
        """Remember a record and take it in; `sync` puts it into the file, and makes it last."""
        if self._writer is None:
            if self._reading.torn:
                compaction.save_torn(self.path, self._reading.torn)
            self._writer = Journal(self.path, self._reading)
        place = self._writer.end_bytes
        self._writer.append(kind, at, particulars)
        self.remaining.apply(kind, at, particulars, place)
        if self._writer.end_bytes - self._writer.length_bytes >= _TOGETHER_BYTES:
            self._writer.write()

    def sync(self) -> None:
        """Put all that was recorded on the disk."""
        if self._writer is not None:
            self._writer.sync()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # whoever made a backend for one call does not close it
            self.close()

    def find(self, part_id: str) -> int | None:
        """Return the number of a part, by its id."""
        if not self.remaining.job["named"]:
            return number_of(part_id, self.remaining.total)
        for number in self.remaining.named(part_id):
            if self.name(number) == part_id:
                return number
        return None

    def name(self, number: int) -> str | None:
        """Return the id of a part, None if it is its number."""
        place, index = self.remaining.place_of_part(number)
        names = self._read(place)["names"]
        return str(names[index]) if names else None

    def payload(self, number: int) -> object:
        """Return a part as it was given."""
        place, index = self.remaining.place_of_part(number)
        payload: object = self._read(place)["payloads"][index]
        return payload

    def row(self, number: int) -> tuple[object, ...]:
        """Make the row of a part, as `resumed.progress.base` describes it."""
        kept, place = (
            self.remaining.tries.get(number, UNTRIED),
            self.remaining.place_of_result(number),
        )
        attempts, result = kept.attempts, None
        if place:
            done = self._read(place)
            attempts = done["attempts"]
            result = f"[{encode(done['result'], 'result')},{instant(done['at'])!r}]"
        error = encode(kept.error, "reason") if kept.error else None
        payload, lost = encode(self.payload(number), "part"), number in self.remaining.lost
        return (number, self.name(number), payload, attempts, error, lost, kept.until, result)

    @property
    def _length_bytes(self) -> int:
        return self._writer.length_bytes if self._writer else self._reading.length_bytes

    def _drop_writer(self) -> None:
        """Forget the writing end, which knows nothing of what others wrote."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        last, length_bytes = writer.last, writer.length_bytes
        self._reading = replace(self._reading, last=last, length_bytes=length_bytes, torn=None)
        writer.close()

    def _load(self) -> Reading:
        placed = _Placed(self._file)
        try:
            reading = journal.judge(
                self.path,
                placed,  # type: ignore[arg-type] # the three methods that it uses
                lambda record: apply_line(self.remaining, record, placed.place),
            )
        except KeyError as error:
            raise JournalVersionError(
                self.path, 1, f"a record of an unknown kind, {error}"
            ) from error
        if self.remaining.total != self.remaining.job["total"]:
            raise JournalCorruptError(self.path, reading.last, "a record of parts is missing")
        return reading

    def _read(self, place: int) -> Record:
        """Read the record at *place*; the last few are remembered."""
        if place not in self._records:
            if self._writer is not None:
                self._writer.write()
            self._file.seek(place)
            record = journal.unseal(self._file.readline(journal.LINE_LIMIT_BYTES))
            if record is None:
                raise JournalCorruptError(self.path, 0, f"damaged at byte {place}")
            while len(self._records) >= _RECORDS_KEPT:
                del self._records[next(iter(self._records))]
            self._records[place] = record
        return self._records[place]


def write(folder: int, name: str, header: Fact, parts: Parts) -> None:
    """Write a new journal, which says of itself that all of it is synced, and sync it."""
    facts = Fact(journal.HEADER, header.at, {"format": journal.FORMAT, **header.particulars})
    count = 1 + sum(1 for _ in _together(parts))
    generation = os.urandom(4).hex()
    fd = durable.open_file(folder, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        durable.write_all(fd, journal.seal(1, count, generation, facts))
        for number, gathered in enumerate(_together(parts), start=2):
            line = journal.seal(number, count, generation, Fact("parts", header.at, gathered))
            durable.write_all(fd, line)
        durable.sync(fd)
    finally:
        os.close(fd)


def _together(parts: Parts) -> Iterator[Record]:
    """Gather parts so that a record of them is neither long nor one of many."""
    gathered: Record = {"first": 0, "payloads": [], "names": []}
    size = 0
    for entry in parts:
        if size + len(entry.text) > _TOGETHER_BYTES or len(gathered["payloads"]) == _TOGETHER:
            yield gathered
            gathered, size = {"first": entry.number, "payloads": [], "names": []}, 0
        gathered["payloads"].append(decode(entry.text))
        if not parts.numbered:
            gathered["names"].append(entry.id)
        size += len(entry.text)
    if gathered["payloads"]:
        yield gathered


def lock(path: Path) -> int | None:
    """Take the lock of the file that is at *path*, and wait for it; None if there is none."""
    while True:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            _wait(fd)
            if os.path.samestat(os.fstat(fd), path.lstat()):
                return fd
        except FileNotFoundError:
            pass  # deleted while we waited: look again
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _wait(fd: int) -> None:
    while True:
        with suppress(LockedError):
            durable.lock(fd)
            return
        time.sleep(_TURN_SECONDS)
