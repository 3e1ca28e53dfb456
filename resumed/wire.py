r"""Fix what daemon and worker say to each other, and the shape of it.

A frame is one JSON object on one line of pure ASCII. Four pipes belong to a worker.

*work*, from the daemon; the first frame is ``load``, with what to run and where::

    {"do":"load","folder":"/etc/resumed","out":"/spool/out","steps":[{"step":null,...}]}
    {"do":"run","id":"...","name":"a.jpg","path":"/spool/active/ID/a.jpg","attempt":1,...}
    {"do":"parts","of":["JOB","a.csv",...],"parts":[["KEY",1,"part id",{...}],...]}
    {"do":"stepped","id":"...","step":"search"}        the step is durable, go on
    {"do":"go"}                                        the output was read, begin the next

Its end says: finish what was sent, then end. A frame has all steps that an item recorded, so
it may be long. *report*, to the daemon, in frames of at most 4 MiB::

    {"say":"loaded"}   {"say":"load_failed","text":"handler.py:3: NameError: ..."}
    {"say":"began","id":"...","attempt":1}
    {"say":"step","id":"...","step":"search","result":[...]}
    {"say":"progress","id":"...","done":3,"total":10}
    {"say":"ended","id":"...","how":"returned","result":null}
    {"say":"gave_back","ids":["...", "..."]}

How an attempt ended is ``returned`` (result), ``raised`` (kinds, text, errno), ``exited``
(status, negative for a signal), ``missing`` (text: a program that is not there) or
``interrupted``; ``busy`` and ``absent`` (text) say that it could not begin, because its
folder is locked or not there. A *step* is where the fault was; *scratch* says that the scratch
folder is there, *alone* that it is not, that the item's folder holds the file and nothing else,
and that no process is left which could hold its lock; and *wait* that output was left to read:
the worker waits for ``go``, so that no item is blamed for what another one printed.

*control*, from the daemon, is single bytes that a worker obeys even while a handler runs:
`RECALL` asks back what was not begun, `STOP` asks what waits not to wait. Its end says that
the daemon is dead: the worker kills what it started, and itself. *output* is descriptors 1
and 2 of the worker and of all that it starts.

Items are sent ahead, so a killed daemon may not have read what was begun. That is why a
worker also leaves a *mark* of each attempt in a file it shares with the daemon, before the
attempt begins: see `resumed.mark`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from resumed.model import DEPTH_LIMIT, JSON, Record, to_json, too_deep

EXIT_ORPHANED = 75
EXIT_DEAF = 76
RECALL = b"r"
STOP = b"s"
RESULT_LIMIT_BYTES = 256 << 10
TEXT_LIMIT = 4096
FRAME_LIMIT_BYTES = 4 << 20
READ_BYTES = 64 << 10


# Half of the time of `json.loads` goes by before it comes to this.
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined] # not in the stubs
encode_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


NO_STEPS: Mapping[str, JSON] = MappingProxyType({})


class Assignment(NamedTuple):
    """Ask for one attempt.

    *lock* is the folder ``active/ID``, which the attempt holds while it runs; a part of a job
    holds a folder of its job together with others. *scratch* is where ``workdir`` and unpublished
    outputs are, made when they are first asked for. *steps* are the results that earlier attempts
    recorded. *reduce* is set for the reduce of a job: where its results are, and its metadata.
    """

    id: str
    name: str
    path: str
    attempt: int
    key: str
    scratch: str
    lock: str | None = None
    steps: Mapping[str, JSON] = NO_STEPS
    part: JSON = None
    part_id: str | None = None
    job: str | None = None
    reduce: Record | None = None


class Common(NamedTuple):
    """Say what the attempts of all parts of a job have in common; *folder* has their scratch."""

    job: str
    name: str
    path: str
    lock: str
    folder: str


class Piece(NamedTuple):
    """Ask for one attempt of a part of a job.

    The *id* is ``JOB#`` and the part's mark; *key* is that mark and its content
    (`resumed.records.key`). The worker makes an `Assignment` of it.
    """

    id: str
    key: str
    attempt: int
    part_id: str
    part: JSON
    steps: Mapping[str, JSON]
    common: Common


Work: TypeAlias = Assignment | Piece


class NonsenseError(Exception):
    """Say that what came out of a pipe is not what the other side says."""


def encode(frame: Record) -> bytes:
    """Write *frame* as one line; its values are plain already."""
    return to_json(frame).encode("ascii") + b"\n"


class Frames:
    """Cut a stream of bytes into frames; keeps what is not yet whole."""

    def __init__(self, limit_bytes: int | None = FRAME_LIMIT_BYTES) -> None:
        """Refuse longer frames than *limit_bytes*, which a handler may have written.

        Those of the daemon have no limit: all recorded steps of an item, and all parts that
        are sent at once, are in one.
        """
        self._limit_bytes = limit_bytes
        self._rest: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[Record]:
        """Yield the frames that *piece* completes.

        Raises:
            NonsenseError: Something is no frame; what came before it was yielded.
        """
        first, *others = piece.split(b"\n")
        self._rest.append(first)
        if others:
            whole, self._rest = b"".join(self._rest), [others.pop()]
            yield from map(_decode, (whole, *others))
        if self._limit_bytes is not None and sum(map(len, self._rest)) > self._limit_bytes:
            raise NonsenseError("a line without end")


def _decode(line: bytes) -> Record:
    try:
        text = line.decode("ascii")
        frame, end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError) as error:
        raise NonsenseError(str(error)) from error
    if end != len(text):
        raise NonsenseError("more than one object")
    if not isinstance(frame, dict):
        raise NonsenseError(f"{type(frame).__name__}, not an object")
    return frame


def plain(value: object) -> JSON:
    """Return *value* as it looks after a journey through JSON, which a resume makes it take.

    Raises:
        ValueError: It is no JSON, has more than `RESULT_LIMIT_BYTES`, or is too deep.
    """
    if value is None:
        return None
    try:
        text = encode_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    if len(text) > RESULT_LIMIT_BYTES:
        raise ValueError(f"has {len(text)} bytes of JSON, more than {RESULT_LIMIT_BYTES}")
    returned: JSON = json.loads(text)
    if too_deep(text, returned):
        raise ValueError(f"is JSON nested deeper than {DEPTH_LIMIT} levels")
    return returned


def assign(work: Iterable[Work]) -> Iterator[Record]:
    """Make the frames that ask for attempts, without what is not set; parts share theirs."""
    for common, group in groupby(work, _common):
        if common is None:
            yield from map(_alone, group)
        else:
            yield {"do": "parts", "of": common, "parts": list(map(_row, group))}


def _common(work: Work) -> Common | None:
    return work.common if type(work) is Piece else None


def _alone(work: Work) -> Record:
    if isinstance(work, Piece):
        raise TypeError(work)
    frame: Record = {
        "do": "run",
        "id": work.id,
        "name": work.name,
        "path": work.path,
        "attempt": work.attempt,
        "key": work.key,
        "scratch": work.scratch,
    }
    if work.lock is not None:
        frame["lock"] = work.lock
    if work.steps:
        frame["steps"] = dict(work.steps)
    if work.job is not None:
        frame.update(part=work.part, part_id=work.part_id, job=work.job)
    if work.reduce is not None:
        frame["reduce"] = work.reduce
    return frame


def _row(piece: Work) -> Sequence[object]:
    return piece[1:6] if piece.steps else piece[1:5]


def assigned(frame: Record) -> Iterator[Assignment]:
    """Read a frame that `assign` made."""
    if frame["do"] == "run":
        del frame["do"]
        yield Assignment(**frame)
        return
    job, name, path, lock, folder = frame["of"]
    for key, attempt, part_id, part, *steps in frame["parts"]:
        mark = key[:16]
        yield Assignment(
            f"{job}#{mark}",
            name,
            path,
            attempt,
            f"{job}#{key}",
            f"{folder}/{mark}",
            lock,
            steps[0] if steps else NO_STEPS,
            part,
            part_id,
            job,
        )
