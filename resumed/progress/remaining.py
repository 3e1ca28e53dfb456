"""Add up the records of one job: which parts remain, and where all else is written.

Pure meaning: nothing is read or written here. Of a part that waits, eight bytes are kept,
and twenty where parts have names; of one in work or failed also its attempts. Payloads,
names and results stay in the file, and are found by their place in it.

The records of a job's journal, besides its header, which has *job* and *metadata*:

    parts (first, payloads, names)       described (metadata)
    started (part, attempt, until, error)   extended (part, until)
    waiting (part, attempt, error)       failed (part, attempt, error)
    done (part, attempts, result)        job_failed (fault)    retried
    reduce_claimed (until)    reduce_released    reduce_done    synced

A part is told by its number; *error* is a kind and a text; *until* is in seconds.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

from resumed.model import Record, instant


class Try(NamedTuple):
    """Tell how often a part was tried, until when it is leased, and what went wrong last."""

    attempts: int
    until: float | None
    error: list[str] | None


UNTRIED = Try(0, None, None)


class Remaining:
    """Know the state of a job after each record that is applied."""

    def __init__(self) -> None:
        self.job: Record = {}
        self.metadata: Record = {}
        self.created_at = self.changed_at = 0.0
        self.done = 0
        self.lost: set[int] = set()
        self.tries: dict[int, Try] = {}
        self.fault: list[Any] | None = None
        self.until = 0.0
        self.claims = 0
        self.ended_at: float | None = None
        self._done_at = array("Q")  # each part's place of its done record, 0 without
        self._firsts = array("Q")
        self._places = array("Q")
        self._hashes = array("q")
        self._order: array[int] | None = None

    @property
    def total(self) -> int:
        """Count all parts."""
        return len(self._done_at)

    @property
    def ready(self) -> bool:
        """Tell whether nothing but the reduce is left."""
        left = self.total - self.done - len(self.lost)
        return not left and self.fault is None and len(self.lost) <= self.job["tolerate"]

    def sent(self, now: float) -> bool:
        """Tell whether the reduce is done, or on its way."""
        return self.ended_at is not None or self.until > now

    def place_of_result(self, number: int) -> int:
        """Return where the done record of a part is in the file, 0 if there is none."""
        return self._done_at[number]

    def place_of_part(self, number: int) -> tuple[int, int]:
        """Return where the record of a part is in the file, and its place in the record."""
        at = bisect_right(self._firsts, number) - 1
        return self._places[at], number - self._firsts[at]

    def named(self, name: str) -> Iterator[int]:
        """Yield the numbers of parts that may have this name: rarely more than one."""
        if self._order is None:
            self._order = array("I", sorted(range(self.total), key=self._hashes.__getitem__))
        wanted = hash(name)
        at = bisect_left(self._order, wanted, key=self._hashes.__getitem__)
        while at < self.total and self._hashes[self._order[at]] == wanted:
            yield self._order[at]
            at += 1

    def numbers(self, which: str, after: int, now: float) -> Iterator[int]:
        """Yield the numbers of parts that are ``done``, ``lost``, or ``todo`` and free."""
        if which == "lost":
            yield from sorted(number for number in self.lost if number > after)
            return
        for number in range(after + 1, self.total):
            if which == "done":
                wanted = bool(self._done_at[number])
            else:
                free = (self.tries.get(number, UNTRIED).until or 0) <= now
                wanted = free and not self._done_at[number] and number not in self.lost
            if wanted:
                yield number

    def holds(self, number: int, attempt: int) -> bool:
        """Tell whether *attempt* is the last of the part, and neither ended nor failed."""
        kept = self.tries.get(number, UNTRIED)
        return kept.attempts == attempt and kept.until is not None

    def running(self, now: float) -> int:
        """Count the leases that have not run out."""
        return sum(1 for each in self.tries.values() if each.until and each.until > now)

    def apply(self, kind: str, at: float, record: Record, place: int) -> None:
        """Take in a record, which stands at *place* in the file.

        Raises:
            KeyError: The kind or a particular is unknown, so a newer program wrote it.
        """
        match kind:
            case "done":
                self._end(record["part"], at, place)
            case "failed":
                self.lost.add(record["part"])
                self.tries[record["part"]] = Try(record["attempt"], None, record["error"])
                self.changed_at = at
            case "started":
                self.tries[record["part"]] = Try(
                    record["attempt"], record["until"], record["error"]
                )
            case "extended":
                old = self.tries[record["part"]]
                self.tries[record["part"]] = old._replace(until=record["until"])
            case "waiting":
                self.tries[record["part"]] = Try(record["attempt"], None, record["error"])
            case _:
                self._apply_to_job(kind, at, record, place)

    def _end(self, number: int, at: float, place: int) -> None:
        self.done += not self._done_at[number]
        self._done_at[number] = place
        self.lost.discard(number)
        self.tries.pop(number, None)
        self.changed_at = at

    def _apply_to_job(self, kind: str, at: float, record: Record, place: int) -> None:
        match kind:
            case "opened":
                self.job, self.metadata = record["job"], dict(record["metadata"])
                self.created_at = self.changed_at = at
            case "parts":
                self._firsts.append(record["first"])
                self._places.append(place)
                self._done_at.extend([0] * len(record["payloads"]))
                self._hashes.extend(map(hash, record["names"]))
            case "described":
                self.metadata |= record["metadata"]
            case "job_failed":
                self.fault = record["fault"]
            case "retried":
                self.fault = None
                self.lost.clear()
            case "reduce_claimed":
                self.claims += 1
                self.until = record["until"]
            case "reduce_released":
                self.until = 0.0
            case "reduce_done":
                self.ended_at = at
            case "synced":
                pass
            case _:
                raise KeyError(kind)


def apply_line(remaining: Remaining, record: Record, place: int) -> None:
    """Take in a record as it is read from a file."""
    remaining.apply(record["kind"], instant(record["at"]), record, place)
