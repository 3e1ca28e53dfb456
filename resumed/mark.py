"""Leave a trace of each attempt that outlives both the worker and the daemon.

Items are sent ahead, and what a worker says is lost with a daemon that is killed before it
reads. So a worker writes a mark into a file that it shares with the daemon *before* an attempt
begins, and the next daemon learns from `read` which attempts had begun without being recorded.

The file is mapped into memory: a mark costs no system call and survives SIGKILL. It does not
survive a power cut, and need not: after one no process of before lives, and the journal
alone says what happened. The file is a ring of more marks than a worker ever has items whose
end the daemon has not recorded; a mark that the journal knows to have ended is moot.
"""

import contextlib
import json
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from resumed import orphans

AHEAD_LIMIT = 64
ID_LIMIT_BYTES = 160
STEP_LIMIT_BYTES = 120
_LINE_BYTES = 512
_RING = 2 * AHEAD_LIMIT
FILE_BYTES = _RING * _LINE_BYTES

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Mark:
    """Say which attempt was begun, by which process, and which step it had reached.

    *turn* counts the marks of one file, so that the latest is known; *born* is when the
    process started, in ticks since the machine did, without which its id means little.
    """

    turn: int
    id: str
    attempt: int
    pid: int
    born: int
    step: str | None


class Marker:
    """The writing end, in a worker."""

    def __init__(self, fd: int) -> None:
        """Map the file that *fd* is open on, which `create` has made."""
        self._ring = mmap.mmap(fd, FILE_BYTES)
        self._process = f'"pid":{os.getpid()},"born":{orphans.born(os.getpid())}'
        self._turn = 0
        self._attempt = ""

    def begin(self, id_: str, attempt: int) -> None:
        """Mark that *attempt* is about to begin."""
        self._turn += 1
        self._attempt = f'{{"turn":{self._turn},"id":{_encode(id_)},"attempt":{attempt}'
        self._write("null")

    def step(self, name: str) -> None:
        """Mark that the attempt has reached a step."""
        named = _encode(name)
        self._write(named if len(named) <= STEP_LIMIT_BYTES else '"..."')

    def _write(self, step: str) -> None:
        line = f'{self._attempt},{self._process},"step":{step}}}\n'.encode("ascii")
        offset = self._turn % _RING * _LINE_BYTES
        self._ring[offset : offset + len(line)] = line


def create(path: Path) -> int:
    """Make an empty file of marks, whatever was there; return its descriptor.

    Raises:
        OSError: The disk refused.
    """
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # Blocks that were not set aside would be a SIGBUS for the worker when the disk is full.
        os.posix_fallocate(fd, 0, FILE_BYTES)
    except OSError:
        os.close(fd)
        raise
    return fd


def read(path: Path) -> list[Mark]:
    """Return the marks in *path*, the latest last; what is no mark is passed over."""
    try:
        content = path.read_bytes()
    except OSError:
        return []
    pieces = (content[at : at + _LINE_BYTES] for at in range(0, len(content), _LINE_BYTES))
    return sorted(_marks(pieces), key=lambda mark: mark.turn)


def _marks(pieces: Iterable[bytes]) -> Iterable[Mark]:
    for piece in pieces:
        line, end, _ = piece.partition(b"\n")
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            if end:
                yield Mark(**json.loads(line))
