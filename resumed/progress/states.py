"""Hold what a backend answers: leases, and how parts and jobs are.

Everything here is frozen. Instants are seconds since the epoch and end in ``_at``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from resumed.model import JSON, Done, Fault, Pending
from resumed.progress.errors import JobFault


@dataclass(frozen=True, slots=True)
class Reduce:
    """Hold the claim of a reduce; *key* is the same for every claim of one job."""

    job_id: str
    key: str
    attempt: int
    until_at: float


@dataclass(frozen=True, slots=True)
class StillOpen:
    """Answer that the part is recorded, and nothing further is to do."""


@dataclass(frozen=True, slots=True)
class LastPart:
    """Answer, to one caller only, that the reduce is now its to send and to confirm."""

    reduce: Reduce


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """Answer that the part was done before; what is recorded stays."""


Answer: TypeAlias = StillOpen | LastPart | AlreadyDone


@dataclass(frozen=True, slots=True)
class Lease:
    """Hold one attempt of a part; the number of the attempt is never used again."""

    job_id: str
    part_id: str
    attempt: int
    until_at: float
    payload: JSON


@dataclass(frozen=True, slots=True)
class Leased:
    """A part that somebody works on."""

    until_at: float


@dataclass(frozen=True, slots=True)
class PartFailed:
    """A part that no further attempt is made for."""


@dataclass(frozen=True, slots=True)
class PartState:
    """Tell all about a part. *number* is its place in the job; *fault* its last failure."""

    id: str
    number: int
    payload: JSON
    attempts: int
    fault: Fault | None
    state: Pending | Leased | PartFailed | Done


@dataclass(frozen=True, slots=True)
class Open:
    """A job with parts to do, or with more failed parts than it tolerates."""


@dataclass(frozen=True, slots=True)
class ReduceDue:
    """A job whose parts are done and whose reduce nobody has claimed, or not in time."""


@dataclass(frozen=True, slots=True)
class ReduceClaimed:
    """A job whose reduce is on its way; due again at *until_at*."""

    until_at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A job whose reduce was confirmed."""

    at: float


JobState: TypeAlias = Open | ReduceDue | ReduceClaimed | Ended | JobFault


def job_state(
    *, now: float, ready: bool, fault: JobFault | None, until_at: float, ended_at: float | None
) -> JobState:
    """Tell where a job is; *ready* says that nothing but the reduce is left."""
    if ended_at is not None:
        return Ended(ended_at)
    if fault is not None:
        return fault
    if not ready:
        return Open()
    return ReduceClaimed(until_at) if until_at > now else ReduceDue()


@dataclass(frozen=True, slots=True)
class Job:
    """Tell all about a job; *running* counts the leases that have not run out."""

    id: str
    key: str
    total: int
    done: int
    failed: int
    running: int
    tolerate: int
    created_at: float
    changed_at: float
    metadata: Mapping[str, JSON]
    state: JobState

    @property
    def pending(self) -> int:
        """Count the parts that wait for somebody."""
        return self.total - self.done - self.failed - self.running

    @property
    def percent(self) -> int:
        """Round down, so that 100 means all."""
        return 100 * self.done // self.total if self.total else 100
