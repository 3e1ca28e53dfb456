"""Keep the jobs that are to be opened, until it is their turn.

Jobs of one name are open one after another. No more are opened while several have parts to
give out; one whose parts only wait for other attempts keeps none back. One whose attempts of
before a crash still run is not opened yet.
"""

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice

from resumed.entry import Entry
from resumed.jobbook import JobBook
from resumed.jobyard import JobYard
from resumed.model import Failed
from resumed.openjob import OpenJob

MOST_READY = 4
MOST_OPEN = 100
BUSY_SECONDS = 1.0
MARKS_TOGETHER = 10_000


class JobQueue:
    """The jobs that were taken in and not opened. Times are monotonic seconds."""

    def __init__(self, yard: JobYard, now: Callable[[], float]) -> None:
        """Queue nobody; *now* gives the time for records."""
        self._yard = yard
        self._now = now
        self._queue: deque[Entry] = deque()
        self._busy: dict[str, float] = {}
        self._traces: dict[str, dict[str, int]] = {}
        self._books: dict[str, JobBook] = {}

    def __len__(self) -> int:
        """Count those that wait."""
        return len(self._queue)

    @property
    def surplus(self) -> int:
        """Count those that wait beyond the first hundred.

        A job may have to wait long, for an attempt of before or for jobs of hours; the first
        ones hold up no other file. The rest stays in the inbox, so that memory is bounded.
        """
        return max(0, len(self._queue) - MOST_OPEN)

    def __contains__(self, entry: Entry) -> bool:
        """Tell whether a job waits."""
        return entry in self._queue

    def add(self, entry: Entry) -> None:
        """Queue a job up."""
        self._queue.append(entry)

    def forget(self, entry: Entry) -> bool:
        """Forget a job; False when it is not here."""
        if entry not in self:
            return False
        self._leave(entry)
        if (book := self._books.pop(entry.id, None)) is not None:
            book.close()
        return True

    def take(self, opened: Mapping[str, OpenJob], now: float) -> Entry | None:
        """Take the next job out that can be opened now."""
        while entry := self.next(opened, now):
            if self._yard.in_use(entry.id):
                self._busy[entry.id] = now + BUSY_SECONDS
                continue
            self._leave(entry)
            return entry
        return None

    def next(self, opened: Mapping[str, OpenJob], now: float) -> Entry | None:
        """Say which job is the next to open, None when none is now."""
        if len(opened) >= MOST_OPEN or not self._queue:
            return None
        if sum(job.ready or job.slicing for job in opened.values()) >= MOST_READY:
            return None
        names = {job.entry.name for job in opened.values()}
        for entry in self._queue:
            if entry.name not in names and self._busy.get(entry.id, 0.0) <= now:
                return entry
            names.add(entry.name)  # the next one of its name comes after it
        return None

    def due(self, now: float) -> float | None:
        """Say when to look again whether the attempts of before still run.

        One whose time has come and that cannot be opened waits for another job, not for it.
        """
        return min((at for at in self._busy.values() if at > now), default=None)

    def trace(self, job_id: str, mark: str, attempt: int) -> None:
        """Note that an attempt of a part had begun when the last daemon died.

        Workers may have left marks of several attempts of it, in any order.
        """
        traces = self._traces.setdefault(job_id, {})
        traces[mark] = max(attempt, traces.get(mark, 0))

    def record_traces(self, live: Mapping[str, Entry]) -> None:
        """Put these into the journals of the *live* jobs, durably.

        Nothing of a job was in hand when it failed.
        """
        for job_id in self._yard.journals():
            entry, marks = live.get(job_id), self._traces.get(job_id)
            if marks and entry is not None and not isinstance(entry.state, Failed):
                book = self._books[job_id] = self._yard.book(job_id, self._now)
                rest = iter(marks.items())
                while some := dict(islice(rest, MARKS_TOGETHER)):  # a record has its limit
                    book.record("traced", marks=some)
                book.commit(urgent=True)
        self._traces.clear()

    def book(self, entry: Entry) -> JobBook:
        """Return the journal of a job; whoever opens the job takes it over, by `hand_over`.

        Raises:
            JournalError: A person must look at it.
        """
        if entry.id not in self._books:
            self._books[entry.id] = self._yard.book_of(entry, self._now)
        return self._books[entry.id]

    def hand_over(self, entry: Entry) -> JobBook:
        """Return the journal of a job that was taken out, to one who closes it."""
        self.book(entry)
        return self._books.pop(entry.id)

    def _leave(self, entry: Entry) -> None:
        self._queue.remove(entry)
        self._busy.pop(entry.id, None)

    def close(self) -> None:
        """Let go of all."""
        for book in self._books.values():
            book.close()

    def abandon(self) -> None:
        """Let go of all without another word to the disk."""
        for book in self._books.values():
            book.abandon()
