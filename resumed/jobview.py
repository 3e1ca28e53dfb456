"""See how the jobs of an instance are, from outside: read their journals, disturb nobody.

A job, as JSON::

    {"id": "019a3c5d7e2-1f0c9b77aa", "name": "orders.csv", "state": "open",
     "opened_at": "...", "parts": 1000, "done": 730, "failed": 2, "running": 2,
     "waiting": 10, "pending": 256, "rate": 81.5, "seconds_left": 3.2,
     "reduce": {"state": "none", "attempts": 0, "error": null, "result": null},
     "error": null}

*state* is open, reduce (all parts have ended, the reduce has not), failed or done. *parts*,
*pending* and *seconds_left* are null until the whole file was read; *rate* is of parts done
a second, lately.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from resumed import durable, jobbook, roll
from resumed.jobledger import JobLedger
from resumed.model import Record, instant
from resumed.records import unkey
from resumed.settings import Paths
from resumed.view import RefusedError, closed, look

LATELY = 2000


@dataclass(slots=True)
class JobView:
    """One job as its journal tells it."""

    id: str
    path: Path
    name: str = ""
    opened_at: str = ""
    ledger: JobLedger = field(default_factory=JobLedger)
    faults: dict[int, Record] = field(default_factory=dict)
    lately: deque[str] = field(default_factory=lambda: deque(maxlen=LATELY))

    def apply(self, record: Record) -> None:
        """Take in a record."""
        self.ledger.apply(record)
        match record["kind"]:
            case "done":
                self.lately.append(record["at"])
            case "failed" | "bad" | "waiting":
                self.faults[unkey(record["key"])[0]] = record
            case "job_opened":
                self.name, self.opened_at = record["name"], record["at"]
            case _:
                pass

    @property
    def state(self) -> str:
        """Say in one word how the job is."""
        ledger = self.ledger
        if ledger.reduce.state == "done":
            return "done"
        if ledger.closed is not None:
            return "failed"
        left = self.counts()["pending"]
        busy = ledger.running or self._count(roll.WAITING)
        return "reduce" if left == 0 and not busy else "open"

    def counts(self) -> dict[str, int | None]:
        """Count its parts by what became of them."""
        done, failed = self._count(roll.DONE), self._count(roll.FAILED) + self._count(roll.BAD)
        running, waiting = len(self.ledger.running), self._count(roll.WAITING)
        split = self.ledger.split
        total = split["parts"] if split else None
        ended = done + failed + running + waiting
        pending = None if total is None else max(0, total - ended)
        counted = {"done": done, "failed": failed, "running": running, "waiting": waiting}
        return {"parts": total, **counted, "pending": pending}

    def rate(self, now: float) -> float | None:
        """Say how many parts a second were done lately; None when none were."""
        if self.state != "open" or not self.lately:
            return None
        seconds = now - instant(self.lately[0])
        return len(self.lately) / seconds if seconds > 0 else None

    def document(self, now: float) -> Record:
        """Describe it; see the module."""
        counts, rate, reduce = self.counts(), self.rate(now), self.ledger.reduce
        pending = counts["pending"]
        left = round(pending / rate, 1) if rate and pending is not None else None
        error = self.ledger.closed if self.state == "failed" else None
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "opened_at": self.opened_at,
            **counts,
            "rate": round(rate, 1) if rate else None,
            "seconds_left": left,
            "reduce": {
                "state": reduce.state,
                "attempts": reduce.attempts,
                "error": reduce.error if reduce.state in ("waiting", "failed") else None,
                "result": reduce.result,
            },
            "error": error,
        }

    def failures(self) -> Iterator[Record]:
        """Yield the last failure of each part that failed, or waits for another attempt."""
        known = self.ledger.roll
        for mark, record in self.faults.items():
            number = known.find(mark)
            if number is None or number in self.ledger.gone:
                continue
            if known.states[number] in (roll.FAILED, roll.BAD, roll.WAITING):
                names = ("part", "line", "attempt", "step", "error", "at")
                told = {each: record[each] for each in names if each in record}
                yield {**told, "state": roll.STATES[known.states[number]]}

    def _count(self, state: int) -> int:
        states = self.ledger.roll.states
        return states.count(state) - sum(states[each] == state for each in self.ledger.gone)


def read(paths: Paths, job_id: str) -> JobView:
    """Read a job's journal.

    Raises:
        RefusedError: There is no such job, or it is closed to this user.
        JournalError: A person must look.
    """
    # Found in one place, it may be archived before it is opened; it is never moved back.
    for _ in (paths.jobs, paths.jobs / jobbook.ARCHIVE):
        if path := jobbook.find(paths.jobs, job_id):
            with suppress(FileNotFoundError):
                return _named(paths, _read(path, job_id))
    raise RefusedError(f"{job_id}: no job has this id; 'resumed-ctl jobs ls' lists them")


def _named(paths: Paths, view: JobView) -> JobView:
    """Name a job whose file could not be read: its journal says nothing but that."""
    if not view.name and (entry := look(paths).ledger.items.get(view.id)):
        view.name = entry.name
    return view


def _read(path: Path, job_id: str) -> JobView:
    view = JobView(job_id, path)
    try:
        with path.open("rb") as file:
            jobbook.read(path, view.apply)
            durable.sync(file.fileno())  # what is told survives a power cut
    except PermissionError as error:
        raise closed(path) from error
    return view


def jobs(paths: Paths, *, over: bool) -> Iterator[JobView]:
    """Yield the jobs, oldest first; those that are over when *over* says so."""
    folders = [paths.jobs, *([paths.jobs / jobbook.ARCHIVE] if over else [])]
    ids = {path.stem for folder in folders for path in folder.glob("*-*.jsonl")}
    for job_id in sorted(ids):
        yield read(paths, job_id)


def find(paths: Paths, name: str) -> JobView:
    """Find the job that a person means, by its id or by its name: the latest of that name.

    Raises:
        RefusedError: There is none.
    """
    if jobbook.find(paths.jobs, name):
        return read(paths, name)
    for entry in reversed(look(paths).ledger.items.values()):
        if name in (entry.name, entry.kept_as) and entry.job:
            return read(paths, entry.id)
    found = [view for view in jobs(paths, over=True) if view.name == name]
    if not found:
        raise RefusedError(f"{name}: no job is called so; 'resumed-ctl jobs ls --all' lists them")
    return found[-1]
