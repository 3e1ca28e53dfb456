"""Gather the numbers of a period: what ended when, how long steps took, why items failed.

All of it comes from the facts of history and journal, read once. Times are seconds since the
epoch; a period is cut into equal slices, and each list has one number for each.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from resumed import story
from resumed.documents import general_reason
from resumed.ledger import Ledger
from resumed.model import Fault, Held, Open, Pending, Record, Running, Waiting, instant
from resumed.paths import Paths

SLICES = 48
WHOLE = "the whole item"
_SAMPLES_LIMIT = 100_000


@dataclass(slots=True)
class Chronicle:
    """What happened from *since* to *until*; *backlog* is how many were unfinished."""

    since: float
    until: float
    arrived: list[int] = field(default_factory=lambda: [0] * SLICES)
    done: list[int] = field(default_factory=lambda: [0] * SLICES)
    failed: list[int] = field(default_factory=lambda: [0] * SLICES)
    backlog: list[int] = field(default_factory=lambda: [0] * SLICES)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def slice_seconds(self) -> float:
        """Say how long a slice is."""
        return (self.until - self.since) / SLICES

    def slice_of(self, at: float) -> int | None:
        """Return the number of the slice that *at* falls into, None outside."""
        if not self.since <= at < self.until:
            return None
        return min(SLICES - 1, int((at - self.since) / self.slice_seconds))


def gather(paths: Paths, ledger: Ledger, since: float, until: float) -> Chronicle:
    """Read the facts of a period; *ledger* is how things stand now."""
    chronicle = Chronicle(since, until)
    day = story.day_of(since)
    changes = [0] * SLICES
    begun: dict[str, float] = {}
    for record in story.facts(paths, [b"{"], since=day):
        at = instant(record["at"])
        number = chronicle.slice_of(at)
        if number is not None:
            _count(chronicle, record, number)
            changes[number] += _change(record)
            _measure(chronicle, record, at, begun)
    unfinished = _unfinished(ledger)
    for number in reversed(range(SLICES)):
        chronicle.backlog[number] = max(0, unfinished)
        unfinished -= changes[number]
    return chronicle


def percentile(numbers: Iterable[float], share: float) -> float:
    """Return the number below which *share* of them lie."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _count(chronicle: Chronicle, record: Record, number: int) -> None:
    match record["kind"]:
        case "claimed":
            chronicle.arrived[number] += 1
        case "done":
            chronicle.done[number] += 1
        case "failed":
            chronicle.failed[number] += 1
            fault = Fault(record["error"]["kind"], record["error"]["text"])
            chronicle.reasons[general_reason(fault)] += 1
        case _:
            pass


def _change(record: Record) -> int:
    """Say by how much a fact changes the number of unfinished items, as far as it tells."""
    if record["kind"] in ("claimed", "retried", "released") and not record.get("changed"):
        return 1
    return -1 if record["kind"] in ("done", "failed", "held", "gone") else 0


def _measure(chronicle: Chronicle, record: Record, at: float, begun: dict[str, float]) -> None:
    item_id = record.get("id", "")
    match record["kind"]:
        case "started":
            begun[item_id] = at
        case "stepped" if item_id in begun:
            _add(chronicle, record["step"], at - begun[item_id])
            begun[item_id] = at
        case "done":
            _add(chronicle, WHOLE, record["seconds"])
            begun.pop(item_id, None)
        case "waiting" | "failed" | "crashed" | "interrupted":
            begun.pop(item_id, None)
        case _:
            pass


def _add(chronicle: Chronicle, step: str, seconds: float) -> None:
    samples = chronicle.seconds.setdefault(step, [])
    if len(samples) < _SAMPLES_LIMIT:
        samples.append(max(0.0, seconds))


def _unfinished(ledger: Ledger) -> int:
    unfinished = Pending | Running | Waiting | Open
    states = [entry.state for entry in ledger.items.values()]
    return sum(isinstance(state, unfinished) and not isinstance(state, Held) for state in states)
