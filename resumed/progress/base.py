"""Say what every backend of a job's progress promises, and share what all of them do.

A job is created whole or not at all, with the payloads of its parts. Which parts remain is
a set and never a counter, so a part that completes twice counts once. A part is worked on
under a *lease*: whoever holds it extends it while alive, and when it runs out the part is
pending again and the attempt has counted. Instants are read from the clock of whoever
asks, so clocks must agree to well within a lease.

After the last part the *reduce* is due. It is claimed before it is sent and confirmed
after; a claim that is not confirmed within its lease may be claimed again, with the same
key. Confirming is recorded once. Nothing is due while the job is failed, or while more
parts failed for good than the job tolerates.

A backend is a subclass that answers verbs. Each answer is atomic, durable when it is given,
and a tuple of plain values that begins with its name::

    ("Lease", attempt, until_at, payload)        ("Reduce", key, attempt, until_at)
    ("Job", fields, done, failed, running, metadata, ready)    ("Rows", row, row, ...)

A row is (number, name or None, payload, attempts, fault, failed, until_at, [result, at]).
Payload, fault, result and metadata are JSON texts, and None where there is nothing. What a
backend refuses has the name of an error in `resumed.progress.errors`, or raises it, and
changed nothing.
"""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import astuple
from typing import Any, TypeAlias

from resumed.model import JSON, Done, Fault, Pending
from resumed.progress import errors, states
from resumed.progress.parts import Parts, check_id, decode, encode

LEASE_SECONDS = 60.0
LAPSED = '["crashed","the lease of attempt # ran out"]'
PAGE = 1000
Clock: TypeAlias = Callable[[], float]
Raw: TypeAlias = Any  # the JSON edge: what each verb answers is told above


class Progress(ABC):
    """Keep jobs and their parts.

    *topic* names where workers listen, for a hand-off that needs it, and is ``WorkTopic`` of
    the environment when it is missing; *delete_when_done* asks whoever confirms a reduce to
    delete the job.
    """

    def __init__(
        self, *, topic: str | None, delete_when_done: bool = False, clock: Clock = time.time
    ) -> None:
        self.topic = topic or os.environ.get("WorkTopic")  # noqa: SIM112 - as watchbot has it
        self.delete_when_done = delete_when_done
        self.clock = clock

    @abstractmethod
    def ask(
        self,
        verb: str,
        job_id: str,
        part_id: str | None,
        now: float,
        *arguments: Any,  # noqa: ANN401 - see Raw
    ) -> Raw:
        """Answer one verb, about a part or (None) about the job; see the module's docstring."""

    @abstractmethod
    def store(
        self, job_id: str, parts: Parts, metadata: Mapping[str, str], tolerate: int, now: float
    ) -> bool:
        """Store a new job whole; False, and nothing stored, if its id is in use."""

    @abstractmethod
    def ids(self, after: str, limit: int) -> Iterable[str]:
        """List ids of jobs, sorted, from the first behind *after*."""

    def caution(self) -> str | None:
        """Say what a crash of this backend may lose, None when nothing."""
        return None

    def group(self) -> AbstractContextManager[None]:
        """Ask much at once: a backend may make it durable at the end, so tell of it only then."""
        return nullcontext()

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of connections and files; another call may open them again."""

    def create(
        self,
        job_id: str,
        parts: Parts,
        *,
        metadata: Mapping[str, JSON] | None = None,
        tolerate: int = 0,
    ) -> states.Job:
        """Create a job whole; it is done although *tolerate* parts failed for good.

        Raises:
            JobExists: The id is in use until that job is deleted.
            ProgressTypeError: The id or the metadata cannot be stored.
        """
        described = _describe(metadata or {})
        if not self.store(check_id(job_id, "job"), parts, described, tolerate, self.clock()):
            raise errors.JobExists(job_id)
        return self.job(job_id)

    def job(self, job_id: str) -> states.Job:
        """Look a job up."""
        _, fields, done, failed, running, metadata, ready = self._ask("job", job_id)
        fault, ended_at = fields.get("fault"), fields.get("ended")
        state = states.job_state(
            now=self.clock(),
            ready=bool(ready),
            fault=errors.JobFault(*decode(fault)) if fault else None,
            until_at=float(fields.get("until", 0)),
            ended_at=float(ended_at) if ended_at else None,
        )
        return states.Job(
            id=job_id,
            key=fields["key"],
            total=int(fields["total"]),
            done=done,
            failed=failed,
            running=running,
            tolerate=int(fields["tolerate"]),
            created_at=float(fields["created"]),
            changed_at=float(fields.get("changed", fields["created"])),
            metadata={name: decode(text) for name, text in sorted(metadata.items())},
            state=state,
        )

    def jobs(self, *, after: str = "", limit: int = 100) -> list[states.Job]:
        """List jobs sorted by id, from the first behind *after*."""
        found: list[states.Job] = []
        for job_id in self.ids(after, limit):
            with suppress(errors.JobDoesNotExist):  # deleted meanwhile
                found.append(self.job(job_id))
        return found

    def describe(self, job_id: str, metadata: Mapping[str, JSON]) -> None:
        """Merge *metadata* into the job's own."""
        self._ask("describe", job_id, None, _describe(metadata))

    def part(self, job_id: str, part_id: str) -> states.PartState:
        """Look a part up."""
        return self._state(self._ask("part", job_id, part_id)[1])

    def pending(self, job_id: str, *, after: int = -1, limit: int = PAGE) -> list[states.PartState]:
        """List parts that wait for somebody, by number, from the first behind *after*."""
        return self._list(job_id, "todo", after, limit)

    def failures(
        self, job_id: str, *, after: int = -1, limit: int = PAGE
    ) -> list[states.PartState]:
        """List parts that failed for good, likewise."""
        return self._list(job_id, "lost", after, limit)

    def results(self, job_id: str) -> Iterator[tuple[str, JSON]]:
        """Yield id and result of each part that is done, by number."""
        last = -1
        while found := self._list(job_id, "done", last, PAGE):
            for part in found:
                if isinstance(part.state, Done):
                    yield part.id, part.state.result
            last = found[-1].number

    def begin(
        self, job_id: str, part_id: str, *, seconds: float = LEASE_SECONDS
    ) -> states.Lease | states.AlreadyDone:
        """Start an attempt, with the part for *seconds* to itself.

        Raises:
            JobFailed: The job was given up.
            PartGivenUp: The part failed for good.
            PartLeased: Somebody else has it.
        """
        answer = self._ask("begin", job_id, part_id, seconds)
        if answer[0] == "AlreadyDone":
            return states.AlreadyDone()
        return self._lease(job_id, part_id, answer)

    def extend(self, lease: states.Lease, *, seconds: float = LEASE_SECONDS) -> states.Lease:
        """Keep the part for *seconds* from now; raises `LeaseLost` and `JobFailed`."""
        answer = self._ask("extend", lease.job_id, lease.part_id, seconds, lease.attempt)
        return self._lease(lease.job_id, lease.part_id, answer)

    def complete(
        self, job_id: str, part_id: str, result: JSON = None, *, seconds: float = LEASE_SECONDS
    ) -> states.Answer:
        """Record a part done, under a lease or without; a reduce is claimed for *seconds*."""
        text = encode(result, "result")
        return _answer(job_id, self._ask("complete", job_id, part_id, seconds, text))

    def fail(self, lease: states.Lease, fault: Fault) -> None:
        """Give a part back with the reason; raises `LeaseLost`."""
        self._ask("fail", lease.job_id, lease.part_id, 0.0, lease.attempt, _fault(fault))

    def give_up(
        self, lease: states.Lease, fault: Fault, *, seconds: float = LEASE_SECONDS
    ) -> states.Answer:
        """Record that a part failed for good; raises `LeaseLost`."""
        arguments = (seconds, lease.attempt, _fault(fault))
        return _answer(lease.job_id, self._ask("give_up", lease.job_id, lease.part_id, *arguments))

    def fail_job(self, job_id: str, fault: errors.JobFault) -> None:
        """Give the whole job up, the first reason stays; raises `JobEnded`."""
        self._ask("fail_job", job_id, None, _fault(fault))

    def retry(self, job_id: str) -> int:
        """Take up a failed job and its failed parts, and count these; raises `JobEnded`."""
        return int(self._ask("retry", job_id)[1])

    def claim_reduce(self, job_id: str, *, seconds: float = LEASE_SECONDS) -> states.Reduce | None:
        """Claim the reduce for *seconds*, if it is due."""
        answer = _answer(job_id, self._ask("claim", job_id, None, seconds))
        return answer.reduce if isinstance(answer, states.LastPart) else None

    def confirm_reduce(self, reduce: states.Reduce) -> bool:
        """Record that the reduce was delivered; True for the first, while it is still due."""
        return bool(self._ask("confirm", reduce.job_id, None, reduce.key)[0] == "Confirmed")

    def release_reduce(self, reduce: states.Reduce) -> None:
        """Give a claim back, for sending failed; nothing if the claim is another's by now."""
        self._ask("release", reduce.job_id, None, reduce.key, reduce.attempt)

    def delete(self, job_id: str) -> None:
        """Forget a job and all of its parts."""
        self._ask("delete", job_id)

    def _ask(self, verb: str, job_id: str, part_id: str | None = None, *arguments: Any) -> Raw:  # noqa: ANN401 - see Raw
        answer = self.ask(verb, job_id, part_id, self.clock(), *arguments)
        errors.refuse(answer, job_id, part_id or "")
        return answer

    def _list(self, job_id: str, which: str, after: int, limit: int) -> list[states.PartState]:
        rows = self._ask("list", job_id, None, which, after, limit)[1:]
        return [self._state(row) for row in rows]

    def _lease(self, job_id: str, part_id: str, answer: Raw) -> states.Lease:
        _, attempt, until_at, payload = answer
        return states.Lease(job_id, part_id, int(attempt), float(until_at), decode(payload))

    def _state(self, row: Raw) -> states.PartState:
        number, name, payload, attempts, fault, failed, until_at, result = row
        state: Pending | states.Leased | states.PartFailed | Done = Pending()
        if result:
            state = Done(*decode(result))
        elif failed:
            state = states.PartFailed()
        elif until_at and float(until_at) > self.clock():
            state = states.Leased(float(until_at))
        elif until_at:
            fault = LAPSED.replace("#", str(int(attempts)))
        return states.PartState(
            id=str(int(number)) if name is None else name,
            number=int(number),
            payload=decode(payload),
            attempts=int(attempts or 0),
            fault=Fault(*decode(fault)) if fault else None,
            state=state,
        )


def _describe(metadata: Mapping[str, JSON]) -> dict[str, str]:
    """Write metadata; what is told at a time must fit where one value does."""
    described = {name: encode(value, f"metadata {name!r}") for name, value in metadata.items()}
    encode(dict(metadata), "metadata")
    return described


def _fault(fault: Fault | errors.JobFault) -> str:
    return encode(astuple(fault), "reason")


def _answer(job_id: str, answer: Raw) -> states.Answer:
    if answer[0] == "Reduce":
        _, key, attempt, until_at = answer
        return states.LastPart(states.Reduce(job_id, key, int(attempt), float(until_at)))
    return states.AlreadyDone() if answer[0] == "AlreadyDone" else states.StillOpen()
