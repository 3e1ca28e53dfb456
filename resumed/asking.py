"""Ask the daemon for a change, and wait until its journal has the answer.

A request is a file, its answer a record. When nobody is there to answer, the request stays
where it is: the next start or drain does what it says.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from resumed import alive, request, view
from resumed.model import Record
from resumed.paths import Paths
from resumed.view import Follower, RefusedError

IDS_LIMIT = 2000
_IDS_BYTES = request.LIMIT_BYTES - 1024  # what else a request says is short
PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.02
_PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what became of one request; while it *waits*, *lines* are empty."""

    request: str
    verb: str
    waits: Literal["down", "hung", "busy"] | None
    ok: bool
    lines: tuple[str, ...] = ()

    def document(self) -> Record:
        """Describe it as JSON."""
        return {
            "request": self.request,
            "verb": self.verb,
            "ok": self.ok,
            "waits": self.waits,
            "answer": list(self.lines),
        }


def ask(
    paths: Paths,
    verb: str,
    ids: Sequence[str] = (),
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    replacement: str | None = None,
    **options: bool | str,
) -> list[Answer]:
    """Submit what is asked, in as many requests as it takes, and wait for their answers.

    *replacement* names a file in the inbox with which a job goes on.

    Raises:
        RefusedError: This user may not ask, or not for so much; nothing was submitted.
        StorageError: The disk refused.
    """
    pieces = list(_pieces(ids)) or [()]
    if replacement is not None:
        options["with"] = replacement
    follower = Follower(paths.journal)
    try:
        with suppress(FileNotFoundError):
            follower.poll()
        names = [_submit(paths, verb, piece, options) for piece in pieces]
        heard, why = _listen(paths, follower, set(names), patience_seconds)
    except PermissionError as error:
        raise view.closed(paths.journal) from error
    finally:
        follower.close()
    return [_answer(name, verb, heard.get(name), why) for name in names]


def _pieces(ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Divide what is asked for among requests; the parts of one job never."""
    together: dict[str, list[str]] = {}
    for each in ids:
        together.setdefault(each.partition("#")[0], []).append(each)
    piece: list[str] = []
    left_bytes = _IDS_BYTES
    for item_id, some in together.items():
        size_bytes = sum(len(json.dumps(each)) + 2 for each in some)
        if size_bytes > _IDS_BYTES:
            why = f"{item_id}: {len(some)} parts are too many to name at a time"
            raise RefusedError(f"{why}: name some of them, or the job for all that failed")
        if piece and (len(piece) + len(some) > IDS_LIMIT or size_bytes > left_bytes):
            yield tuple(piece)
            piece, left_bytes = [], _IDS_BYTES
        piece += some
        left_bytes -= size_bytes
    if piece:
        yield tuple(piece)


def _submit(paths: Paths, verb: str, ids: tuple[str, ...], options: dict[str, bool | str]) -> str:
    try:
        return request.submit(paths.requests, verb, ids=ids, **options)
    except PermissionError as error:
        raise view.closed(paths.requests) from error
    except FileNotFoundError as error:
        why = f"{paths.requests}: is missing; nothing was ever run here, so nothing can be asked"
        raise RefusedError(why) from error


def _answer(
    name: str, verb: str, record: Record | None, why: Literal["down", "hung", "busy"]
) -> Answer:
    if record is None:
        return Answer(name, verb, why, ok=True)
    return Answer(name, verb, None, bool(record["ok"]), tuple(map(str, record["answer"])))


def _listen(
    paths: Paths, follower: Follower, names: set[str], patience_seconds: float
) -> tuple[dict[str, Record], Literal["down", "hung", "busy"]]:
    """Collect the answers; stop when all are there, or when none can be expected."""
    heard: dict[str, Record] = {}
    for record in _records(paths, follower, patience_seconds, lambda: names <= heard.keys()):
        if record["kind"] == "answered" and record["request"] in names:
            heard[record["request"]] = record
    life = alive.probe(paths.lock, time.time()).state
    return heard, "busy" if life == "up" else life


def _records(
    paths: Paths, follower: Follower, patience_seconds: float, over: Callable[[], bool]
) -> Iterator[Record]:
    """Yield what is recorded from now on, until *over*, in vain, or out of patience."""
    until = time.monotonic() + patience_seconds
    probe_at = 0.0
    while True:
        # Asked before reading: what a dying daemon still wrote is read after its death.
        now = time.monotonic()
        expected = True
        if now >= probe_at:
            expected = alive.probe(paths.lock, time.time()).state == "up"
            probe_at = now + _PROBE_SECONDS
        with suppress(FileNotFoundError):
            yield from follower.records()
        if over() or not expected or now >= until:
            return
        time.sleep(_PAUSE_SECONDS)
