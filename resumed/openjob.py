"""Work on one job that is open: split its file, give its parts out, gather its results.

The file is split a few milliseconds at a time, while parts of it run already. In memory is
what `resumed.roll` holds of each part; whatever else is needed is read again where it is.
"""

import heapq
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from resumed import roll
from resumed.entry import Entry
from resumed.errors import StorageError
from resumed.gate import OUR_SHORTAGE
from resumed.gathering import RESULTS, gather
from resumed.jobbook import JobBook
from resumed.jobledger import Tries
from resumed.model import Record
from resumed.records import Bad, Lines, Part
from resumed.splitting import Splitting
from resumed.wire import NO_STEPS, Assignment, Common, Piece

# With all that may be escaped, and an id of a whole mebibyte at the end, still one frame.
AT_ONCE_BYTES = 128 << 10
REDUCE = "reduce"
SEPARATOR = "#"
_LOOKS = 20_000


class ChangedError(Exception):
    """Say that the file of a job was changed while it was open."""


class OpenJob:
    """One open job. *folder* is its scratch folder, *lock* what its attempts hold."""

    def __init__(  # noqa: PLR0913 - what a job consists of
        self,
        entry: Entry,
        book: JobBook,
        lines: Lines,
        *,
        folder: Path,
        path: Path,
        lock: str,
    ) -> None:
        self.entry = entry
        self.book = book
        self.ledger = book.ledger
        self.roll = book.ledger.roll
        self.lines = lines
        self.folder = folder
        self.begun: dict[int, tuple[str, int]] = {}
        self.suspects: list[int] = []
        self.reducing = False
        self.seeking = False
        self.whole = False
        self.told = False
        self.gathered = False
        self.in_hand = 0
        self.litter: list[str] = []
        self._first_face = self._face()
        self._prefix = f"{entry.id}{SEPARATOR}"
        self._common = Common(entry.id, entry.name, str(path), lock, str(folder))
        self._again: deque[int] = deque()
        self._waiting: list[tuple[float, int]] = []
        self._cursor = 0
        self._slices: Iterator[None] | None = self._split()

    @property
    def slicing(self) -> bool:
        """Tell whether `work` has something to do."""
        return self._slices is not None

    @property
    def busy(self) -> bool:
        """Tell whether there is something to do that waits for nobody."""
        return self.slicing or self.seeking

    @property
    def ready(self) -> bool:
        """Tell whether a part could be given out now."""
        return self.ledger.fault is None and self.roll.counts[roll.PENDING] > 0

    @property
    def failed(self) -> int:
        """Count the parts that failed, those included that could not be read."""
        return self.roll.counts[roll.FAILED] + self.roll.counts[roll.BAD]

    @property
    def over(self) -> bool:
        """Tell whether every part has ended."""
        counts = self.roll.counts
        left = counts[roll.PENDING] + counts[roll.GIVEN] + counts[roll.WAITING]
        return self.whole and not left

    @property
    def changed(self) -> bool:
        """Tell whether the file is no longer what it was when the job was opened."""
        return self._face() != self._first_face

    def work(self, seconds: float) -> None:
        """Go on with what is done in slices, for so long."""
        until = time.monotonic() + seconds
        while self._slices is not None:
            if next(self._slices, self) is self:
                self._slices = None
            if time.monotonic() >= until:
                return

    def due(self) -> float | None:
        """Say when a part that waits is to be tried again."""
        while self._waiting and self.roll.states[self._waiting[0][1]] != roll.WAITING:
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def wake(self, now: float) -> None:
        """Let parts that waited long enough be given out."""
        due = self.due()
        while due is not None and due <= now:
            _, number = heapq.heappop(self._waiting)
            self.roll.turn(number, roll.PENDING)
            self._again.append(number)
            due = self.due()

    def put_off(self, number: int, due: float) -> None:
        """Let a part wait until *due*, on the monotonic clock."""
        self.roll.turn(number, roll.WAITING)
        heapq.heappush(self._waiting, (due, number))

    def give_back(self, number: int) -> None:
        """Let a part that did not begin, or does not count as begun, be the next."""
        self.roll.turn(number, roll.PENDING)
        self._again.appendleft(number)

    def look_again(self) -> None:
        """Find parts again that are pending once more."""
        self._cursor = 0
        self.seeking = True
        self._again.clear()
        # For one that is tried by hand the time that it waited for is none any more.
        states = self.roll.states
        self._waiting = [each for each in self._waiting if states[each[1]] == roll.WAITING]
        heapq.heapify(self._waiting)

    def seek(self) -> None:
        """Go on a little to the next part that is pending, while there may be one far ahead."""
        if not self.seeking:
            return
        parts = self.roll
        end = min(self._cursor + _LOOKS, len(parts.order))
        while self._cursor < end and parts.states[parts.order[self._cursor]] != roll.PENDING:
            self._cursor += 1
        self.seeking = self._cursor == end < len(parts.order)

    def take(self, count: int) -> list[tuple[int, Part]]:
        """Pick parts to give out.

        Raises:
            ChangedError: The file is not what it was.
        """
        self.expect_unchanged()
        taken: list[tuple[int, Part]] = []
        left = AT_ONCE_BYTES
        while len(taken) < count and left > 0 and (number := self._next()) is not None:
            part = self._read(number)
            self.roll.turn(number, roll.GIVEN)
            taken.append((number, part))
            left -= self.lines.length_bytes
        return taken

    def read(self, number: int) -> Part:
        """Read a part again.

        Raises:
            ChangedError: The file is not what it was.
        """
        self.expect_unchanged()
        return self._read(number)

    def expect_unchanged(self) -> None:
        """Raise `ChangedError` if the file is no longer what it was."""
        if self.changed:
            raise ChangedError

    def _read(self, number: int) -> Part:
        known = (self.roll.marks[number], self.roll.contents[number])
        try:
            part = self.lines.at(self.roll.offsets[number], known)
        except OSError as error:
            self._fail_unreadable(error)
            raise ChangedError from error  # the first reason stays
        if isinstance(part, Bad):
            raise ChangedError
        return part

    def piece(self, number: int, part: Part, attempt: int) -> Piece:
        """Ask for an attempt of a part."""
        key = f"{part.mark:016x}-{part.content:016x}"
        tries = self.ledger.tries.get(number) if self.ledger.tries else None
        steps = tries.steps if tries else NO_STEPS
        return Piece(
            self._prefix + key[:16], key, attempt, part.id, part.value, steps, self._common
        )

    def reduction(self, attempt: int) -> Assignment:
        """Ask for an attempt of the reduce."""
        return Assignment(
            id=self._prefix + REDUCE,
            name=self.entry.name,
            path=self._common.path,
            attempt=attempt,
            key=self._prefix + REDUCE,
            scratch=f"{self.folder}/{REDUCE}",
            lock=self._common.lock,
            steps=self.ledger.reduce.tries.steps,
            job=self.entry.id,
            reduce={"results": str(self.folder / RESULTS), "metadata": self.ledger.metadata},
        )

    def gather(self) -> None:
        """Begin to write the results file; `gathered` tells when it is durable."""
        self._slices = self._gather()

    def fail(self, why: Record) -> None:
        """Give the whole job up; the first reason stays."""
        if self.ledger.fault is None:
            self.book.record("job_failed", **why)

    def fail_changed(self) -> None:
        """Give the whole job up because its file is not what it was."""
        text = "the file was changed while its parts were running"
        self.fail({"error": {"kind": "changed", "text": text}, "part": None, "attempt": 0})

    def _fail_unreadable(self, error: OSError) -> None:
        """Give the whole job up: at the next start its file could be read no better."""
        if error.errno in OUR_SHORTAGE:
            raise StorageError(self._common.path, error) from error
        text = f"the file cannot be read: {error.strerror}"
        self.fail({"error": {"kind": "unreadable", "text": text}, "part": None, "attempt": 0})

    def _split(self) -> Iterator[None]:
        try:
            yield from Splitting(self.book, self.lines, self._place).slices()
        except OSError as error:
            self._fail_unreadable(error)
        else:
            self.whole = True

    def _place(self, number: int, tries: Tries) -> None:
        """Let a part go on where an earlier run left it."""
        if self.roll.states[number] == roll.WAITING:
            rest = tries.failed_at + tries.delay_seconds - self.book.now()
            # A clock that jumped must neither start a storm nor lose a retry.
            rest = min(max(rest, 0.0), tries.delay_seconds)
            self.put_off(number, time.monotonic() + rest)
        elif self.roll.states[number] == roll.PENDING and tries.crashes:
            self.roll.turn(number, roll.GIVEN)
            self.suspects.append(number)

    def _gather(self) -> Iterator[None]:
        self.book.commit(urgent=True)
        yield from gather(self.roll, self.book.path, self.folder)
        self.gathered = True

    def close(self) -> None:
        """Let go of the files."""
        self.lines.close()
        self.book.close()

    def _face(self) -> tuple[int, int]:
        status = self.lines.status()
        return status.st_size, status.st_mtime_ns

    def _next(self) -> int | None:
        """Find the next part that is pending."""
        parts = self.roll
        while self._again:
            number = self._again.popleft()
            if parts.states[number] == roll.PENDING:
                return number
        for _ in range(min(_LOOKS, len(parts.order) - self._cursor)):
            number = parts.order[self._cursor]
            self._cursor += 1
            if parts.states[number] == roll.PENDING:
                return number
        self.seeking = self._cursor < len(parts.order)
        return None


def summary(job: OpenJob) -> Record:
    """Count a job's parts, for its last record."""
    counts = job.roll.counts
    return {"parts": len(job.roll), "done": counts[roll.DONE], "failed": job.failed}
