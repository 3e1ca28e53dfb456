"""Say what the pool tells the daemon: what its workers said, and how they died.

*worker* is a worker's process id. How an attempt ended is one of the ends that
`resumed.verdict` judges, or that it could not begin.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from resumed.model import JSON, Record
from resumed.verdict import Broken, Exited, Raised, Returned, Stopped
from resumed.wire import NonsenseError


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody, an orphan perhaps, still holds the item; nothing was begun."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The item's folder cannot be opened; nothing was begun."""

    text: str


End: TypeAlias = Returned | Raised | Exited | Broken | Stopped | Busy | Absent


@dataclass(frozen=True, slots=True)
class Loaded:
    """A worker has imported the handler and waits for work."""

    worker: int


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A worker could not import the handler, and ends."""

    worker: int
    text: str


class Began(NamedTuple):
    """An attempt was begun."""

    worker: int
    id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A step is complete; its worker waits until `Pool.acknowledge` says it is durable."""

    worker: int
    id: str
    step: str
    result: JSON


@dataclass(frozen=True, slots=True)
class Progressed:
    """A handler told how far it is; *total* is None when it does not know."""

    worker: int
    id: str
    done: float
    total: float | None


class Finished(NamedTuple):
    """An attempt ended by its own doing, or could not begin.

    *output* is the tail of what it printed. *scratch* tells that its scratch folder is there
    and has to be removed once the outcome is recorded, *alone* that it left nothing at all:
    in its folder is its file, and no process of it holds the lock.
    """

    worker: int
    id: str
    end: End
    output: bytes
    scratch: bool
    alone: bool = False


@dataclass(frozen=True, slots=True)
class GaveBack:
    """A worker, or the pipe to it, gave back what was not begun."""

    worker: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker ended unasked: *how* is "signal 11 (SEGV)", "exit 3", "timeout", ...

    *id* is the item whose attempt, in *step*, it took with it, None if it ran none;
    *queued* were sent to it and not begun. *loading* tells that it had not imported the handler
    yet, *interrupted* that `Pool.kill` ended it.
    """

    worker: int
    id: str | None
    step: str | None
    queued: tuple[str, ...]
    how: str
    output: bytes
    loading: bool
    interrupted: bool

    @property
    def load_fault(self) -> str:
        """Say why the handler was not imported, of one that died while it was *loading*."""
        return f"its import ended the process: {self.how}"


Report: TypeAlias = (
    Loaded | LoadFailed | Began | StepTaken | Progressed | Finished | GaveBack | WorkerDied
)


def end(frame: Record, seconds: float) -> End:  # noqa: PLR0911 - one for each end
    """Read how an attempt ended, *seconds* after it began.

    Raises:
        NonsenseError: The frame tells of no end.
    """
    step = frame.get("step")
    match frame:
        case {"how": "returned", "result": result}:
            return Returned(result, seconds)
        case {"how": "raised", "kinds": [*kinds], "text": str(text), "errno": errno}:
            return Raised(tuple(map(str, kinds)), text, errno, step)
        case {"how": "exited", "status": int(status)}:
            return Exited(status, step)
        case {"how": "missing", "text": str(text)}:
            return Broken(text)
        case {"how": "interrupted"}:
            return Stopped()
        case {"how": "busy"}:
            return Busy()
        case {"how": "absent", "text": str(text)}:
            return Absent(text)
        case _:
            raise NonsenseError(f"an end of no known kind: {frame.get('how')!r}")
