"""Keep the journal: one JSON object a line, appended by one writer, read by anyone.

A line is pure ASCII and at most 1 MiB::

    {"n":42,"s":40,"g":"7f3a9c1e","at":"2026-11-22T12:00:00.123Z","kind":"done",
     "id":"019a3c5d7e2-1f0c9b77aa","result":null,"crc":"5d1e88a0"}

(on one line). *n* counts lines from 1 without a gap; *s* is the number up to which
everything was on the disk when the line was made; *g* is the generation, new with each
rewriting of the file; *at* is UTC; *kind* and what follows is the fact; *crc* is the
CRC-32, in eight hex digits, over all bytes before ``,"crc"``.

The first line has the kind ``opened``: *format* (1), *program*, *replaces* (the generation
before, or null) and *counts* (a number of ended items by outcome, since ever). A file is
made whole, synced, and only then given its name, so its first lines always are sound.

Damage is judged by these numbers (the idea is Pebble's, 2025: each chunk says what was
synced before it). A bad line above every *s* that any sound line holds is *torn*: a crash
or power loss left the group unfinished, nobody was told of it, and it is cut. A bad line at
or below is *corrupt*: it was on the disk, so hardware or a person changed it.
This module never looks inside a fact. Meaning is the ledger's.
"""

import errno
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from resumed import __version__, durable
from resumed.errors import JournalCorruptError, JournalVersionError, StorageError
from resumed.model import NOTHING_READ, Fact, Reading, Record, Torn, timestamp, to_json

FORMAT = 1
LINE_LIMIT_BYTES = 1 << 20
HEADER = "opened"
SYNCED = "synced"
_START = re.compile(rb'\{"n":\d+,"s":\d+,"g":')
# Half of the time of `json.loads` goes by before it comes to this.
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined] # not in the stubs
_frame = itemgetter("n", "s", "g", "at", "kind")
_FRAME_KINDS = (int, int, str, str, str)
Apply = Callable[[Record], None]
Decode = Callable[[bytes], Record | None]


def seal(number: int, synced: int, generation: str, fact: Fact) -> bytes:
    """Encode *fact* as one line, newline included.

    Raises:
        ValueError: The line would be longer than a reader accepts.
    """
    kind, at, particulars = fact
    told = "," + to_json(particulars)[1:-1] if particulars else ""
    head = f'{{"n":{number},"s":{synced},"g":"{generation}","at":"{timestamp(at)}"'
    body = f'{head},"kind":"{kind}"{told}'.encode("ascii")
    if len(body) > LINE_LIMIT_BYTES - 32:
        raise ValueError(f"a {kind} record of {len(body)} bytes is too long")
    return b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def unseal(line: bytes) -> Record | None:
    """Decode *line*, or return None when it is not, byte for byte, what `seal` wrote."""
    if line[-19:-11] != b',"crc":"' or line[-3:] != b'"}\n':
        return None
    if b"%08x" % zlib.crc32(line[:-19]) != line[-11:-3]:
        return None
    try:
        text = line.decode("ascii")
        record, end = _scan(text, 0)
        sound = end == len(text) - 1 and all(map(isinstance, _frame(record), _FRAME_KINDS))
    except (ValueError, TypeError, KeyError, RecursionError, StopIteration):
        return None
    return record if sound else None


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of *file*; one that is too long comes in pieces, which are bad."""
    yield from iter(lambda: file.readline(LINE_LIMIT_BYTES), b"")


def read(path: Path, apply: Apply) -> Reading:
    """Give each sound record at *path* to *apply*, oldest first, and judge the end.

    Reads only. The header is given too, as a record of the kind ``opened``.

    Raises:
        JournalCorruptError: There is damage that no crash explains.
        JournalVersionError: A newer program wrote this.
        FileNotFoundError: There is no journal.
    """
    with _open(path) as file:
        return judge(path, file, apply)


def judge(
    path: Path, file: BinaryIO, apply: Apply, decode: Decode = unseal, since: Reading = NOTHING_READ
) -> Reading:
    """Do what `read` does with an open file; *decode* may tell less of a line than `unseal`.

    The file stands where *since* ends, up to which somebody read it before.
    """
    number, length, synced, news = since.last, since.length_bytes, since.synced, since.news
    generation, kind = since.generation, SYNCED if since.closed else ""
    for line in lines(file):
        record = decode(line)
        if record is None or record["n"] != number + 1:
            break
        if number == 0:
            generation = _check_header(path, record)
        elif record["g"] != generation:
            break
        number, length = number + 1, length + len(line)
        synced, kind = max(synced, record["s"]), record["kind"]
        news += kind != SYNCED and number > record["s"]
        apply(record)
    closed = synced == number or kind == SYNCED
    sound = Reading(generation, number, synced, length, news, closed, None)
    return replace(sound, torn=_torn_end(path, file, sound))


def _open(path: Path) -> BinaryIO:
    """Open a journal for reading, and nothing that merely has its name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a symlink, a socket
            raise JournalCorruptError(path, 1, "is not a regular file") from error
        raise StorageError(str(path), error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise JournalCorruptError(path, 1, "is not a regular file")
    return open(descriptor, "rb", buffering=1 << 18)  # noqa: PTH123 - a descriptor


def _check_header(path: Path, record: Record) -> str:
    version = record.get("format")
    if record.get("kind") != HEADER or not isinstance(version, int):
        raise JournalCorruptError(path, 1, "the first line is not a header")
    if version > FORMAT:
        raise JournalVersionError(path, 1, f"format {version} is newer than {FORMAT}")
    return str(record["g"])


def _torn_end(path: Path, file: BinaryIO, sound: Reading) -> Torn | None:
    """Look at all that follows the sound lines: nothing, a torn group, or corruption."""
    size = os.fstat(file.fileno()).st_size
    if not sound.last:
        raise JournalCorruptError(path, 1, "the first line is damaged or missing")
    file.seek(sound.length_bytes)
    proved = sound.synced
    for line in lines(file):
        for start in _START.finditer(line):  # two, when the line feed between them is damaged
            record = unseal(line[start.start() :])
            if record is not None and record["g"] == sound.generation:
                proved = max(proved, record["s"])
    if sound.last < proved:
        fault = f"damaged or missing, although it was on the disk (all up to {proved} was)"
        raise JournalCorruptError(path, sound.last + 1, fault)
    torn = Torn(sound.length_bytes, size - sound.length_bytes, sound.last + 1)
    return torn if torn.length_bytes else None


def whole(generation: str, replaces: str | None, header: Fact, facts: Iterable[Fact]) -> bytes:
    """Encode a complete file, in which every line says that all of it is synced."""
    opening: Record = {
        "format": FORMAT,
        "program": f"resumed {__version__}",
        "replaces": replaces,
        **header.particulars,
    }
    every = [Fact(HEADER, header.at, opening), *facts]
    return b"".join(seal(n, len(every), generation, fact) for n, fact in enumerate(every, 1))


class Journal:
    """The writing end. There is one, in the daemon, and it owns the file.

    `append` only remembers a record; `write` puts what is remembered into the file, where
    it survives the death of the program; `sync` makes it survive the machine's. After a
    failure every call fails with it: the next start reads what the disk has.
    """

    def __init__(self, path: Path, reading: Reading) -> None:
        """Continue the journal at *path* as *reading* found it; cut its torn end, kept by then."""
        self.path = path
        self.generation = reading.generation
        self.last = self.synced = reading.last
        self.length_bytes = self.end_bytes = reading.length_bytes
        self._closed = reading.last if reading.closed else 0
        self._waiting: list[bytes] = []
        self._failure: StorageError | None = None
        self._file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if reading.torn:
            try:
                os.ftruncate(self._file, reading.length_bytes)
            except OSError as error:
                raise StorageError(str(path), error) from error
        # What a killed predecessor wrote may not be on the disk, and the next line says it is.
        durable.sync(self._file)
        os.lseek(self._file, reading.length_bytes, os.SEEK_SET)

    @property
    def dirty(self) -> bool:
        """Tell whether a record is not on the disk yet."""
        return self.synced < self.last

    @property
    def closed(self) -> bool:
        """Tell whether the last group is proved to be synced."""
        return self._closed == self.last

    def append(self, kind: str, at: float, particulars: Record) -> int:
        """Remember a record and return its number. Nothing is in the file yet."""
        line = seal(self.last + 1, self.synced, self.generation, Fact(kind, at, particulars))
        self._waiting.append(line)
        self.end_bytes += len(line)
        self.last += 1
        return self.last

    def write(self) -> None:
        """Put the remembered records into the file; a crash of ours cannot lose them now.

        Raises:
            StorageError: The disk refused; nothing of them is to be told to anyone.
        """
        if self._failure:
            raise self._failure
        if not self._waiting:
            return
        try:
            durable.write_all(self._file, b"".join(self._waiting))
        except StorageError as error:
            self._failure = error
            with suppress(OSError):  # else the next start cuts what is above every s
                os.ftruncate(self._file, self.length_bytes)
            raise
        self._waiting.clear()
        self.length_bytes = self.end_bytes

    def sync(self) -> None:
        """Put all records on the disk; when this returns they may be told.

        Raises:
            StorageError: The disk refused; what it has is unknown until it is read again.
        """
        self.write()
        if self.synced < self.last:
            try:
                durable.sync(self._file)
            except StorageError as error:
                self._failure = error  # a second sync would succeed, and lie
                raise
            self.synced = self.last

    def close_group(self, at: float) -> None:
        """Prove the last group synced, by a record after it; nothing, when that is done."""
        self.sync()
        if self._closed != self.last:
            self.append(SYNCED, at, {})
            self.sync()
            self._closed = self.last

    def close(self) -> None:
        """Close the file. What was only remembered is lost."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
