"""Count what a run did and what it left, for whoever wants it in one sentence."""

from collections.abc import Iterable
from dataclasses import dataclass

from resumed.intake import NotReady
from resumed.ledger import Ledger
from resumed.model import Failed, Held, Waiting


@dataclass(frozen=True, slots=True)
class Tally:
    """Count items; *done* and *failed* since the start, the others as they are."""

    done: int
    failed: int
    waiting: int
    to_go: int
    not_ready: tuple[str, ...] = ()


def count(ledger: Ledger, before: tuple[int, int], not_ready: Iterable[NotReady] = ()) -> Tally:
    """Count what became of the items since done and failed were as *before* says."""
    states = [entry.state for entry in ledger.items.values()]
    waiting = sum(isinstance(state, Waiting) for state in states)
    resting = sum(isinstance(state, Failed | Held) for state in states)
    done, failed = ended(ledger)
    return Tally(
        done - before[0],
        failed - before[1],
        waiting,
        len(states) - waiting - resting,
        tuple(f"{each.name}: {each.why}" for each in not_ready),
    )


def ended(ledger: Ledger) -> tuple[int, int]:
    """Return how many items were done and how many failed, since ever."""
    return ledger.counts.get("done", 0), ledger.counts.get("failed", 0)
