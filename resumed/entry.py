"""Know one item: all that must not be forgotten of it, and how to tell that in few records."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from resumed.model import (
    JSON,
    Done,
    Fact,
    Failed,
    Fault,
    Gone,
    Held,
    Identity,
    Open,
    Pending,
    Record,
    Removed,
    Running,
    State,
    Waiting,
)


@dataclass(slots=True)
class Entry:
    """What is known of one item. *attempts* is the last number used; it never goes down.

    *failures* counts towards the retry policy, *crashes* in a row towards `max_crashes`,
    *changes* how often the file was changed under its handler. *kept_as* is the name in
    ``failed/`` or ``hold/`` while the file is there, or still has to be fetched from there.
    *job* says that it is a job, with a journal of its own.
    """

    id: str
    name: str
    identity: Identity
    owner: int
    claimed_at: float
    state: State = field(default_factory=Pending)
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    changes: int = 0
    steps: dict[str, JSON] = field(default_factory=dict)
    kept_as: str | None = None
    job: bool = False

    @property
    def suspect(self) -> bool:
        """Tell whether the last attempt died together with the program."""
        return self.crashes > 0


def retell(entry: Entry) -> Iterator[Fact]:
    """Tell one item again: its claim with the counts as they stand, its steps, its state."""
    about: Record = {
        "id": entry.id,
        "name": entry.name,
        "inode": entry.identity.inode,
        "size": entry.identity.size,
        "mtime_ns": entry.identity.mtime_ns,
        "owner": entry.owner,
        "attempts": entry.attempts,
        "failures": entry.failures,
        "crashes": entry.crashes,
        "changes": entry.changes,
        "kept_as": entry.kept_as,
    }
    if entry.job:
        about["job"] = True
    yield Fact("claimed", entry.claimed_at, about)
    for step, result in entry.steps.items():
        yield Fact("stepped", entry.claimed_at, {"id": entry.id, "step": step, "result": result})
    yield from _retell_state(entry)


def _retell_state(entry: Entry) -> Iterator[Fact]:
    base: Record = {"id": entry.id, "retold": True}
    told: Record
    match entry.state:
        case Pending():
            return
        case Running(attempt, at):
            yield Fact("started", at, {**base, "attempt": attempt})
        case Waiting(attempt, step, fault, at, delay):
            told = {"attempt": attempt, "step": step, "error": _error(fault), "delay": delay}
            yield Fact("waiting", at, {**base, **told})
        case Open(at):
            yield Fact("job_opened", at, base)
        case Held(reason, at, _):
            yield Fact("held", at, {**base, "why": reason})
        case Done(result, at):
            told = {"attempt": entry.attempts, "result": result, "seconds": 0}
            yield Fact("done", at, {**base, **told})
        case Failed(attempt, step, fault, output, at, _):
            told = {"attempt": attempt, "step": step, "error": _error(fault), "output": output}
            yield Fact("failed", at, {**base, **told})
        case Removed(at):
            yield Fact("removed", at, base)
        case Gone():
            return


def _error(fault: Fault) -> Record:
    return {"kind": fault.kind, "text": fault.text}
