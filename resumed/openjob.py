"""Work on one job that is open: split its file, give its parts out, gather its results.

The file is split a few milliseconds at a time, while parts of it run already. In memory is
what `resumed.roll` holds of each part; whatever else is needed is read again where it is.
"""

import heapq
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from resumed import durable, jobbook, records, roll
from resumed.entry import Entry
from resumed.jobbook import JobBook
from resumed.jobledger import JobLedger, Tries
from resumed.model import Record
from resumed.records import Bad, Lines, Part
from resumed.wire import Assignment

AT_ONCE_BYTES = 256 << 10
MOST_WAITING = 100_000
REDUCE = "reduce"
RESULTS = "results.jsonl"
_LOOKS = 20_000
_BETWEEN_CLOCKS = 16


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
        self.lines = lines
        self.folder = folder
        self.begun: dict[int, tuple[str, int]] = {}
        self.suspects: list[int] = []
        self.reducing = False
        self.whole = False
        self.told = False
        self.gathered = False
        self.in_hand = 0
        self.litter: list[str] = []
        self._path = str(path)
        self._lock = lock
        self._again: deque[int] = deque()
        self._waiting: list[tuple[float, int]] = []
        self._cursor = 0
        self._merged = self._new = self._changed = self._unchanged = self._still_there = 0
        self._slices: Iterator[None] | None = self._split()
        self._known = len(book.ledger.roll.marks)

    @property
    def ledger(self) -> JobLedger:
        """What the job's records add up to."""
        return self.book.ledger

    @property
    def roll(self) -> roll.Roll:
        """Its parts."""
        return self.book.ledger.roll

    @property
    def slicing(self) -> bool:
        """Tell whether `work` has something to do."""
        return self._slices is not None

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
        self._again.clear()

    def take(self, count: int) -> list[tuple[int, Part]]:
        """Pick parts to give out.

        Raises:
            ChangedError: The file is not what it was.
        """
        taken: list[tuple[int, Part]] = []
        left = AT_ONCE_BYTES
        while len(taken) < count and left > 0 and (number := self._next()) is not None:
            part = self.read(number)
            self.roll.turn(number, roll.GIVEN)
            taken.append((number, part))
            left -= 64 + sum(len(str(each)) for each in part.value.values())
        return taken

    def read(self, number: int) -> Part:
        """Read a part again.

        Raises:
            ChangedError: It is not there any more.
        """
        part = self.lines.at(self.roll.offsets[number])
        known = (self.roll.marks[number], self.roll.contents[number])
        if isinstance(part, Bad) or (part.mark, part.content) != known:
            raise ChangedError
        return part

    def assignment(self, number: int, part: Part, attempt: int) -> Assignment:
        """Ask for an attempt of a part."""
        mark = f"{part.mark:016x}"
        tries = self.ledger.tries.get(number) if self.ledger.tries else None
        return Assignment(
            id=f"{self.entry.id}#{mark}",
            name=self.entry.name,
            path=self._path,
            attempt=attempt,
            key=f"{self.entry.id}#{mark}-{part.content:016x}",
            scratch=f"{self.folder}/{mark}",
            lock=self._lock,
            steps=tries.steps if tries else {},
            part=part.value,
            part_id=part.id,
            job=self.entry.id,
        )

    def reduction(self, attempt: int) -> Assignment:
        """Ask for an attempt of the reduce."""
        return Assignment(
            id=f"{self.entry.id}#{REDUCE}",
            name=self.entry.name,
            path=self._path,
            attempt=attempt,
            key=f"{self.entry.id}#{REDUCE}",
            scratch=f"{self.folder}/{REDUCE}",
            lock=self._lock,
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

    def close(self) -> None:
        """Let go of the files."""
        self.lines.close()
        self.book.close()

    # splitting

    def _split(self) -> Iterator[None]:
        for turn, found in enumerate(self.lines):
            if isinstance(found, Bad):
                self._take_bad(found)
            elif found is not None:
                self._take_in(found)
            if not turn % _BETWEEN_CLOCKS:
                yield
        self.whole = True
        self.book.record(
            "split",
            parts=len(self.roll),
            bad=self.roll.counts[roll.BAD],
            merged=self._merged,
            new=self._new,
            changed=self._changed,
            unchanged=self._unchanged,
            gone=self._known - self._still_there,
        )

    def _take_in(self, found: Part) -> None:
        parts = self.roll
        number = parts.find(found.mark)
        if number is None:
            number = parts.add(found.mark, found.content)
            self._new += 1
        elif parts.seen(number):
            self._take_double(found, number)
            return
        elif parts.contents[number] != found.content:
            self.ledger.renew(number, found.content)
            self._changed += 1
        else:
            self._unchanged += 1
        parts.see(number, found.offset)
        self._still_there += number < self._known
        attempt = self.ledger.traces.get(found.mark, 0) if self.ledger.traces else 0
        if attempt > parts.attempts[number]:
            key = records.key(found.mark, found.content)
            self.book.record("crashed", part=found.id, key=key, attempt=attempt)
        if self.ledger.tries:
            self._place(number, self.ledger.tries.get(number))

    def _place(self, number: int, tries: Tries | None) -> None:
        """Let a part go on where an earlier run left it."""
        if tries is None:
            return
        if self.roll.states[number] == roll.WAITING:
            rest = tries.failed_at + tries.delay_seconds - self.book.now()
            # A clock that jumped must neither start a storm nor lose a retry.
            rest = min(max(rest, 0.0), tries.delay_seconds)
            self.put_off(number, time.monotonic() + rest)
        elif self.roll.states[number] == roll.PENDING and tries.crashes:
            self.roll.turn(number, roll.GIVEN)
            self.suspects.append(number)

    def _take_double(self, found: Part, number: int) -> None:
        """Merge a record that is there already; another one with its id is a bad line."""
        first = self.lines.at(self.roll.offsets[number])
        if not isinstance(first, Bad) and (first.id, first.value) == (found.id, found.value):
            self._merged += 1
            return
        mark = records.bad(0, found.line, b"", "").mark
        fault = f"has the id {found.id!r} of a line before it, but says something else"
        self._take_bad(Bad(found.offset, found.line, mark, found.content, fault))

    def _take_bad(self, found: Bad) -> None:
        parts = self.roll
        number = parts.find(found.mark)
        same = number is not None and parts.contents[number] == found.content
        if number is None or not same or parts.states[number] != roll.BAD:
            error = {"kind": "bad line", "text": f"line {found.line} {found.fault}"}
            key = records.key(found.mark, found.content)
            self.book.record("bad", part=found.id, key=key, line=found.line, error=error)
            number = parts.find(found.mark)
        if number is not None:
            self._still_there += number < self._known
            parts.see(number, found.offset)

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
        return None

    # gathering

    def _gather(self) -> Iterator[None]:
        """Write the results in the order of the file, durably.

        The offsets of the parts are put to another use: where the record of each is.
        """
        self.book.commit(urgent=True)
        parts = self.roll
        offsets = parts.offsets
        with self.book.path.open("rb", buffering=1 << 18) as journal:
            for turn, (mark, offset, key) in enumerate(jobbook.done_places(journal)):
                number = parts.find(mark)
                if number is not None and records.unkey(key)[1] == parts.contents[number]:
                    offsets[number] = offset
                if not turn % _BETWEEN_CLOCKS:
                    yield
            target = self.folder / RESULTS
            with target.open("wb", buffering=1 << 18) as results:
                for turn, number in enumerate(parts.order):
                    if parts.states[number] == roll.DONE:
                        journal.seek(offsets[number])
                        results.write(jobbook.result_line(journal.readline()))
                    if not turn % _BETWEEN_CLOCKS:
                        yield
                results.flush()
                durable.sync(results.fileno())
        _sync_folder(self.folder)
        self.gathered = True


def _sync_folder(path: Path) -> None:
    for each in (path, path.parent):
        folder = durable.open_folder(each)
        try:
            durable.sync_folder(folder)
        finally:
            os.close(folder)


def summary(job: OpenJob) -> Record:
    """Count a job's parts, for its last record."""
    counts = job.roll.counts
    return {"parts": len(job.roll), "done": counts[roll.DONE], "failed": job.failed}
