"""Say what every backend of a job's progress promises, whatever keeps it.

A job is created whole or not at all, with the payloads of its parts. Which parts remain is
a set and never a counter, so a part that completes twice counts once. A part is worked on
under a *lease*: whoever holds it extends it while alive, and when it runs out the part is
pending again and the attempt has counted. Instants are read from the clock of whoever
asks, so clocks must agree to well within a lease.

After the last part the *reduce* is due. It is claimed before it is sent and confirmed
after; a claim that is not confirmed within its lease may be claimed again, with the same
key. Confirming is recorded once. Nothing is due while the job is failed, or while more
parts failed for good than the job tolerates.

What a backend raises is named in `resumed.progress.errors`; a call that raises has changed
nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from resumed.model import JSON, Done, Fault, Pending
from resumed.progress.errors import JobFault
from resumed.progress.parts import Parts

LEASE_SECONDS = 60.0
Clock: TypeAlias = Callable[[], float]


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


@runtime_checkable
class Progress(Protocol):
    """Keep jobs and their parts; every call is atomic, and durable when it returns."""

    topic: str | None
    delete_when_done: bool

    def create(
        self, job_id: str, parts: Parts, *, metadata: Mapping[str, JSON], tolerate: int = 0
    ) -> Job:
        """Create a job whole; raises `JobExists`."""
        ...

    def job(self, job_id: str) -> Job:
        """Look a job up."""
        ...

    def jobs(self, *, after: str = "", limit: int = 100) -> list[Job]:
        """List jobs sorted by id, from the first behind *after*."""
        ...

    def describe(self, job_id: str, metadata: Mapping[str, JSON]) -> None:
        """Merge *metadata* into the job's own."""
        ...

    def part(self, job_id: str, part_id: str) -> PartState:
        """Look a part up."""
        ...

    def pending(self, job_id: str, *, after: int = -1, limit: int = 1000) -> list[PartState]:
        """List parts that wait for somebody, by number, from the first behind *after*."""
        ...

    def failures(self, job_id: str, *, after: int = -1, limit: int = 1000) -> list[PartState]:
        """List parts that failed for good, likewise."""
        ...

    def results(self, job_id: str) -> Iterator[tuple[str, JSON]]:
        """Yield id and result of each part that is done, by number."""
        ...

    def begin(
        self, job_id: str, part_id: str, *, seconds: float = LEASE_SECONDS
    ) -> Lease | AlreadyDone:
        """Start an attempt; raises `JobFailed` and `PartLeased`."""
        ...

    def extend(self, lease: Lease, *, seconds: float = LEASE_SECONDS) -> Lease:
        """Keep the part for *seconds* from now; raises `LeaseLost`."""
        ...

    def complete(
        self, job_id: str, part_id: str, result: JSON = None, *, seconds: float = LEASE_SECONDS
    ) -> Answer:
        """Record a part done, with or without a lease; a claimed reduce is kept *seconds*."""
        ...

    def fail(self, lease: Lease, fault: Fault) -> None:
        """Give the part back with the reason; raises `LeaseLost`."""
        ...

    def give_up(self, lease: Lease, fault: Fault, *, seconds: float = LEASE_SECONDS) -> Answer:
        """Record that the part failed for good; raises `LeaseLost`."""
        ...

    def fail_job(self, job_id: str, fault: JobFault) -> None:
        """Give the whole job up, the first reason stays; raises `JobEnded`."""
        ...

    def retry(self, job_id: str) -> int:
        """Take up a failed job and its failed parts, and count these; raises `JobEnded`."""
        ...

    def claim_reduce(self, job_id: str, *, seconds: float = LEASE_SECONDS) -> Reduce | None:
        """Claim the reduce if it is due."""
        ...

    def confirm_reduce(self, reduce: Reduce) -> bool:
        """Record that the reduce was delivered; True for the first to say so."""
        ...

    def release_reduce(self, reduce: Reduce) -> None:
        """Give a claim back, for sending failed; nothing if the claim is another's by now."""
        ...

    def delete(self, job_id: str) -> None:
        """Forget a job and all of its parts."""
        ...
