"""Keep one job's journal: ``jobs/ID.jsonl``, in the format of `resumed.journal`.

It is made durable before the job's first part begins, and moved to ``jobs/archive/`` when
the job is over. Records of parts that are done are put into the file every turn of the
loop, so that the death of the program loses none; a sync comes every tenth of a second, or
at once when somebody is to be told.

It is never rewritten. It grows by one record for each part, by the few attempts more that
the policy allows, and by what a person asks for, and it ends with its job; a rewriting could
only drop those attempts, and `jobs failures` and the results are read from these very lines.
Archived ones are read by `resumed-ctl` alone and may be deleted by age, as the history may.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from resumed import compaction, durable, journal
from resumed.errors import JournalCorruptError, JournalVersionError
from resumed.jobledger import JobLedger
from resumed.journal import Journal
from resumed.model import Reading, Record

ARCHIVE = "archive"
SYNC_SECONDS = 0.1
_PART, _KEY, _RESULT = b',"part":', b',"key":"', b',"result":'
_CRC_BYTES = len(b',"crc":"01234567"}\n')


class JobBook:
    """The one writer of a job's journal, and what its records add up to."""

    def __init__(
        self, folder: Path, job_id: str, now: Callable[[], float], generation: str
    ) -> None:
        """Open the journal of a job, or begin it; *now* gives the time for records.

        Raises:
            JournalError: A person must look; nothing was changed.
            StorageError: The disk refused.
        """
        self.path = folder / f"{job_id}.jsonl"
        self.now = now
        self._waiting: list[Callable[[], None]] = []
        self._urgent = False
        self._synced_at = 0.0
        if not os.path.lexists(self.path):
            compaction.create(self.path, generation, now())
        self.ledger, reading = replay(self.path)
        self.torn = reading.torn
        if reading.torn:
            compaction.save_torn(self.path, reading.torn)
        self._journal = Journal(self.path, reading)

    def record(self, kind: str, /, **particulars: object) -> None:
        """State a fact; it is in the file after the next `commit`, and on the disk soon."""
        at = self.now()
        self.ledger.apply({**particulars, "kind": kind, "at": at})
        self._journal.append(kind, at, particulars)

    def record_done(self, number: int, attempt: int, particulars: Record) -> None:
        """State, as `record` does, that a part is done; *number* is the part's in the roll."""
        self.ledger.take_done(number, attempt)
        self._journal.append("done", self.now(), particulars)

    def then(self, action: Callable[[], None]) -> None:
        """Do *action* as soon as everything recorded so far is on the disk."""
        self._waiting.append(action)
        self._urgent = True

    def commit(self, *, urgent: bool = False) -> None:
        """Put what was recorded into the file, and on the disk if it is time.

        Raises:
            StorageError: The disk refused.
        """
        now = self.now()
        if not (urgent or self._urgent or abs(now - self._synced_at) >= SYNC_SECONDS):
            self._journal.write()
            return
        self._journal.sync()
        self._synced_at = now
        self._urgent = False
        actions, self._waiting = self._waiting, []
        for action in actions:
            action()

    @property
    def dirty(self) -> bool:
        """Tell whether a record is not on the disk yet."""
        return self._journal.dirty

    def close(self) -> None:
        """Close the last group and the file."""
        self.commit(urgent=True)
        self._journal.close_group(self.now())
        self._journal.close()

    def abandon(self) -> None:
        """Close the file without another word to the disk, which has refused one."""
        self._journal.close()


def replay(path: Path) -> tuple[JobLedger, Reading]:
    """Add up the journal of a job; reads only.

    Raises:
        JournalError: A person must look.
        FileNotFoundError: There is none.
    """
    ledger = JobLedger()
    return ledger, read(path, ledger.apply)


def read(path: Path, apply: Callable[[Record], None]) -> Reading:
    """Give each record of a job's journal to *apply*; raises like `replay`."""
    line = 0

    def counted(record: Record) -> None:
        nonlocal line
        line += 1
        apply(record)

    try:
        return journal.read(path, counted)
    except KeyError as error:
        raise JournalVersionError(path, line, f"something that is not known: {error}") from error
    except (TypeError, ValueError) as error:
        fault = f"a sound line that cannot follow those before it ({error!r})"
        raise JournalCorruptError(path, line, fault) from error


def archive(folder: Path, job_id: str) -> None:
    """Move the journal of a job that is over; durable on return."""
    name = f"{job_id}.jsonl"
    shelf = folder / ARCHIVE
    with suppress(FileExistsError):
        shelf.mkdir(0o750)
    source = durable.open_folder(folder)
    try:
        target = durable.open_folder(shelf)
        try:
            with suppress(FileNotFoundError):
                durable.move_free(source, name, target, name, "again")
            durable.sync_folder(target)
            durable.sync_folder(source)
        finally:
            os.close(target)
    finally:
        os.close(source)


def find(folder: Path, job_id: str) -> Path | None:
    """Find the journal of a job, over or not."""
    for path in (folder / f"{job_id}.jsonl", folder / ARCHIVE / f"{job_id}.jsonl"):
        if path.is_file():
            return path
    return None


def done_places(file: BinaryIO) -> Iterator[tuple[int, int, str]]:
    """Yield, for each record of a part that is done, its mark, its offset and its key."""
    offset = 0
    for line in journal.lines(file):
        if b',"kind":"done",' in line[:120]:
            at = line.index(_KEY, 60) + len(_KEY)
            key = line[at : at + 33].decode("ascii")
            yield int(key[:16], 16), offset, key
        offset += len(line)


def result_line(line: bytes) -> bytes:
    """Make the line of a results file of the record *line* of a part that is done.

    In the bytes of a record no text can hold one of the marks that are looked for here,
    because a quote in a text is escaped.
    """
    if b"%08x" % zlib.crc32(line[:-_CRC_BYTES]) != line[-11:-3]:
        raise ValueError(f"a record is damaged: {line[:200]!r}")
    part = line[line.index(_PART) + len(_PART) : line.index(_KEY)]
    result = line[line.index(_RESULT) + len(_RESULT) : -_CRC_BYTES]
    return b'{"part":%s,"result":%s}\n' % (part, result)
