"""Add the records of one job up: which parts remain, and how far its reduce is.

Like `resumed.ledger` this opens no file and looks at no clock. The kinds and their
particulars; *part* is a part's id, *key* its mark and content (`resumed.records.key`)::

    job_opened    id, name, metadata
    gone          keys: of parts that the file, of which `split` tells next, has no more
    split         parts, bad, merged, new, changed, unchanged, gone: the file is read
    started       part, key, attempt              only of attempts that took a while
    stepped       part, key, step, result
    waiting       part, key, attempt, step, error: {kind, text}, delay, output
    interrupted   part, key, attempt
    crashed       part, key, attempt
    traced        marks: {mark: attempt}: had begun, as workers' marks tell after a kill
    done          part, key, attempt, seconds, result
    failed        part, key, attempt, step, error, output
    bad           part, key, line, error          a line that cannot be a part
    retried       key (null: all that failed), fresh
    job_failed    error, part, attempt            the rest is skipped
    closed        error                           the file goes to failed/; "repaired": by
                                                  a repair of this, and nobody was told yet
    versioned     version
    reduce_claimed   attempt, key                 before it is delivered
    reduce_stepped, reduce_waiting, reduce_interrupted, reduce_crashed, reduce_failed
    reduced       attempt, seconds, result        recorded once

A record whose key has another content than the one before it for the same part tells that
the part was changed; what was recorded of the part before is void then.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from resumed import roll
from resumed.model import JSON, Record, instant
from resumed.records import unkey
from resumed.roll import Roll

REPAIRED = "repaired"
ReduceState: TypeAlias = Literal["none", "claimed", "waiting", "failed", "done"]


@dataclass(slots=True)
class Tries:
    """What went wrong with a part, or with the reduce, that is to be tried again."""

    failures: int = 0
    crashes: int = 0
    failed_at: float = 0.0
    delay_seconds: float = 0.0
    steps: dict[str, JSON] = field(default_factory=dict)


@dataclass(slots=True)
class Reduce:
    """How far the reduce is."""

    state: ReduceState = "none"
    attempts: int = 0
    result: JSON = None
    seconds: float = 0.0
    error: Record | None = None
    tries: Tries = field(default_factory=Tries)


class JobLedger:
    """The sum of a job's records."""

    def __init__(self) -> None:
        self.opened = False
        self.metadata: dict[str, JSON] = {}
        self.roll = Roll()
        self.tries: dict[int, Tries] = {}
        self.running: dict[int, str] = {}
        self.traces: dict[int, int] = {}
        self.reduce = Reduce()
        self.fault: Record | None = None
        self.closed: Record | None = None
        self.split: Record | None = None
        self.gone: frozenset[int] = frozenset()
        self._going: set[int] = set()
        self.version = ""
        self._appliers = {
            "job_opened": self._job_opened,
            "gone": self._gone,
            "split": self._split,
            "started": self._started,
            "stepped": self._stepped,
            "waiting": self._waiting,
            "interrupted": self._interrupted,
            "crashed": self._crashed,
            "traced": self._traced,
            "done": self._done,
            "failed": self._failed,
            "bad": self._bad,
            "retried": self._retried,
            "job_failed": self._job_failed,
            "closed": self._closed,
            "versioned": self._versioned,
            "reduce_claimed": self._reduce,
            "reduce_stepped": self._reduce,
            "reduce_waiting": self._reduce,
            "reduce_interrupted": self._reduce,
            "reduce_crashed": self._reduce,
            "reduce_failed": self._reduce,
            "reduced": self._reduce,
            "opened": self._nothing,
            "synced": self._nothing,
        }

    def apply(self, record: Record) -> None:
        """Take in *record*; raises `KeyError` for a kind of a newer program."""
        self._appliers[record["kind"]](record)

    def tries_of(self, number: int) -> Tries:
        """Return what is known of a part's failures, to be changed."""
        return self.tries.setdefault(number, Tries())

    def _number(self, r: Record) -> int:
        mark, content = unkey(r["key"])
        number = self.roll.find(mark)
        if number is None:
            return self.roll.add(mark, content)
        if self.roll.contents[number] != content:
            self.renew(number, content)
        return number

    def renew(self, number: int, content: int) -> None:
        """Take in that a part says something else than before."""
        self.roll.renew(number, content)
        self.tries.pop(number, None)
        self.running.pop(number, None)

    def _job_opened(self, r: Record) -> None:
        self.opened = True
        self.metadata = r["metadata"]

    def _gone(self, r: Record) -> None:
        self._going.update(self._number({"key": each}) for each in r["keys"])

    def _split(self, r: Record) -> None:
        self.split = r
        self.gone, self._going = frozenset(self._going), set()
        if r.get("changed") or r.get("gone"):
            self.reduce.tries.steps = {}

    def _count(self, number: int, attempt: int) -> None:
        if attempt > self.roll.attempts[number]:
            self.roll.attempts[number] = min(attempt, roll.MOST_ATTEMPTS)

    def _started(self, r: Record) -> None:
        number = self._number(r)
        self._count(number, r["attempt"])
        self.running[number] = r["part"]

    def _stepped(self, r: Record) -> None:
        self.tries_of(self._number(r)).steps[r["step"]] = r["result"]

    def _waiting(self, r: Record) -> None:
        number = self._end(r)
        self.roll.turn(number, roll.WAITING)
        tries = self.tries_of(number)
        tries.failures += 1
        tries.crashes = 0
        tries.failed_at, tries.delay_seconds = _at(r), r["delay"]

    def _interrupted(self, r: Record) -> None:
        self.roll.turn(self._end(r), roll.PENDING)

    def _crashed(self, r: Record) -> None:
        number = self._end(r)
        self.roll.turn(number, roll.PENDING)
        self.tries_of(number).crashes += 1
        self.traces.pop(self.roll.marks[number], None)

    def _traced(self, r: Record) -> None:
        for mark, attempt in r["marks"].items():
            part = int(mark, 16)
            self.traces[part] = max(attempt, self.traces.get(part, 0))

    def _done(self, r: Record) -> None:
        self.take_done(self._number(r), r["attempt"])

    def take_done(self, number: int, attempt: int) -> None:
        """Take in that a part is done, of which the number is known already."""
        self._count(number, attempt)
        self.roll.turn(number, roll.DONE)
        if self.running:
            self.running.pop(number, None)
        if self.tries:
            self.tries.pop(number, None)
        if self.reduce.tries.steps:  # they were taken with other results
            self.reduce.tries.steps = {}

    def _failed(self, r: Record) -> None:
        number = self._end(r)
        self.roll.turn(number, roll.FAILED)
        if number in self.tries and not self.tries[number].steps:
            del self.tries[number]

    def _bad(self, r: Record) -> None:
        self.roll.turn(self._number(r), roll.BAD)

    def _end(self, r: Record) -> int:
        number = self._number(r)
        self._count(number, r["attempt"])
        if self.running:
            self.running.pop(number, None)
        return number

    def _retried(self, r: Record) -> None:
        """Let what failed, or waits for another attempt, be tried now."""
        self.closed = self.fault = None
        if self.reduce.state in ("failed", "waiting"):
            self.reduce.state = "none"
            steps = {} if r.get("fresh") else self.reduce.tries.steps
            self.reduce.tries = Tries(steps=steps)
        one = self.roll.find(unkey(r["key"])[0]) if r["key"] else None
        states = (roll.FAILED, roll.WAITING)
        for state in states:
            chosen = list(self.roll.of_state(state)) if r["key"] is None else [one]
            for number in chosen:
                if number is not None and self.roll.states[number] == state:
                    self.roll.turn(number, roll.PENDING)
                    self._forgive(number, fresh=bool(r.get("fresh")))

    def _forgive(self, number: int, *, fresh: bool) -> None:
        tries = self.tries.pop(number, None)
        if tries is not None and tries.steps and not fresh:
            self.tries[number] = Tries(steps=tries.steps)

    def _job_failed(self, r: Record) -> None:
        self.fault = r

    def _closed(self, r: Record) -> None:
        self.closed = r["error"]

    def _versioned(self, r: Record) -> None:
        if self.version != r["version"]:
            for tries in (*self.tries.values(), self.reduce.tries):
                tries.steps = {}
        self.version = str(r["version"])

    def _reduce(self, r: Record) -> None:
        reduce, tries = self.reduce, self.reduce.tries
        match r["kind"]:
            case "reduce_claimed":
                reduce.state, reduce.attempts = "claimed", r["attempt"]
            case "reduce_stepped":
                tries.steps[r["step"]] = r["result"]
            case "reduce_waiting":
                reduce.state, reduce.error = "waiting", r["error"]
                tries.failures, tries.crashes = tries.failures + 1, 0
                tries.failed_at, tries.delay_seconds = _at(r), r["delay"]
            case "reduce_interrupted":
                reduce.state = "none"
            case "reduce_crashed":
                reduce.state = "none"
                tries.crashes += 1
            case "reduce_failed":
                reduce.state, reduce.error = "failed", r["error"]
            case _:
                reduce.state = "done"
                reduce.result, reduce.seconds = r["result"], r["seconds"]

    def _nothing(self, r: Record) -> None:
        pass


def _at(r: Record) -> float:
    """Take the time of a record that was read, or of one that was just made."""
    at = r["at"]
    return at if isinstance(at, float) else instant(str(at))
