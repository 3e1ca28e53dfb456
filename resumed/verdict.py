"""Decide what an attempt's end means for its item. Pure: values in, one fact out.

Five ways lead from an attempt: the item is done; it waits for another attempt; it failed
for good; it begins anew because its file was changed; or the attempt does not count,
because a stop, a reload or the surroundings (a full disk, a missing program) ended it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from resumed.entry import Entry
from resumed.model import JSON, Fact, Fault, Identity, Record

BUSY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler came back with a result."""

    result: JSON
    seconds: float


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised; *kinds* are the qualified names of the exception's classes."""

    kinds: tuple[str, ...]
    text: str
    errno: int | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Exited:
    """A command ended with another status than 0, or by a signal (negative)."""

    code: int
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Died:
    """The worker died under the item: "signal 9 (KILL)", "timeout", "exit 3", ..."""

    how: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The surroundings are not as they must be; *why* says what is missing or full."""

    why: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """A stop or a reload ended the attempt."""


End: TypeAlias = Returned | Raised | Exited | Died | Broken | Stopped


class Policy(Protocol):
    """What of `resumed.policy.Policy` is asked here."""

    def after(self, failures: int) -> float | None:
        """Return the seconds to wait after so many failures, None when they are used up."""
        ...

    def spread_seconds(self) -> float:
        """Draw a delay that keeps apart what would otherwise come at once."""
        ...

    def is_transient(self, qualified_names: Sequence[str], errno: int | None = None) -> bool:
        """Tell whether an exception with these class names is worth another attempt."""
        ...

    def exit_verdict(self, code: int) -> str:
        """Tell what a command's exit status means: done, transient or permanent."""
        ...

    def is_environment(self, errno: int) -> bool:
        """Tell whether this error is about a full or read-only disk, not about the item."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Hold what of the configuration decides how items end."""

    policy: Policy
    max_crashes: int


def judge(  # noqa: PLR0913 - everything that the decision depends on, and nothing else
    entry: Entry,
    end: End,
    *,
    output: str,
    identity: Identity | None,
    policy: Policy,
    at: float,
) -> Fact:
    """Return the record that an attempt's end calls for.

    *identity* is the file's now, None when it is gone; *output* is the tail of what the
    handler printed.
    """
    about: Record = {"id": entry.id, "attempt": entry.attempts}
    if isinstance(end, Returned) and (identity is None or identity == entry.identity):
        return Fact("done", at, {**about, "result": end.result, "seconds": round(end.seconds, 6)})
    broken = surroundings(end, policy)
    if broken is not None or isinstance(end, Stopped):
        return Fact("interrupted", at, {**about, "why": broken} if broken else about)
    if identity is not None and identity != entry.identity:
        return _changed(entry, identity, output, at)
    fault, transient = _weigh(end, policy)
    delay = policy.after(entry.failures + 1) if transient and identity is not None else None
    step = getattr(end, "step", None)
    told = {**about, "step": step, "error": {"kind": fault.kind, "text": fault.text}}
    if delay is None:
        return Fact("failed", at, {**told, "output": output})
    return Fact("waiting", at, {**told, "delay": round(delay, 3), "output": output})


def surroundings(end: End, policy: Policy) -> str | None:
    """Say what the place lacks, when that and not the item ended the attempt."""
    match end:
        case Broken(why):
            return why
        case Raised(_, text, errno) if errno is not None and policy.is_environment(errno):
            return text
        case _:
            return None


def crashed_for_good(entry: Entry, max_crashes: int, at: float) -> Fact | None:
    """Return the failure of an item that took the program down too often, else None."""
    if entry.crashes < max_crashes:
        return None
    text = f"the program died {entry.crashes} times in a row while this was running"
    return failure(entry, Fault("crashed", text), at)


def failure(entry: Entry, fault: Fault, at: float) -> Fact:
    """Return the record of a failure that no attempt had."""
    error = {"kind": fault.kind, "text": fault.text}
    about = {"id": entry.id, "attempt": entry.attempts, "step": None, "error": error}
    return Fact("failed", at, {**about, "output": ""})


def _changed(entry: Entry, identity: Identity, output: str, at: float) -> Fact:
    """Begin anew with a changed file, once; a second time it is a failure."""
    if entry.changes:
        fault = Fault("changed", "the file was changed again while it was being processed")
        record = failure(entry, fault, at)
        return record._replace(particulars={**record.particulars, "output": output})
    return Fact("claimed", at, anew(entry, identity))


def anew(entry: Entry, identity: Identity) -> Record:
    """Say what the record says by which an item's file is another one."""
    return {
        "id": entry.id,
        "name": entry.name,
        "inode": identity.inode,
        "size": identity.size,
        "mtime_ns": identity.mtime_ns,
        "owner": entry.owner,
        "changed": True,
    }


def _weigh(end: End, policy: Policy) -> tuple[Fault, bool]:
    """Name the fault, and tell whether another attempt may succeed."""
    match end:
        case Raised(kinds, text, errno):
            return Fault(kinds[0], text), policy.is_transient(kinds, errno)
        case Exited(code) if code < 0:
            return Fault(f"signal {-code}", f"the command was ended by signal {-code}"), True
        case Exited(code):
            fault = Fault(f"exit {code}", f"the command ended with status {code}")
            return fault, policy.exit_verdict(code) == "transient"
        case Died(how):
            return Fault(how, f"the handler's process ended: {how}"), True
        case Returned() | Broken() | Stopped():
            raise AssertionError(end)  # decided before
