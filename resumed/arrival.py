"""Name what the gate can say about a file in the inbox.

`Growing` and `Unreadable` say "ask again" and carry the memory that the next question needs;
`Ready` comes with an open descriptor; the others end the matter.
"""

import os
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from resumed.model import Identity
from resumed.stranger import Kind


class Sighting(NamedTuple):
    """Remember how a file looked, and since when (monotonic) it has looked so.

    The signature is inode, size, mtime and ctime, and empty while there was a writer.
    """

    signature: tuple[int, ...]
    since: float

    @property
    def arrived_ns(self) -> int:
        """Order candidates by age: ctime, because mtimes may be those of an original."""
        return self.signature[3] if self.signature else 0

    def again(self, signature: tuple[int, ...], now: float) -> "Sighting":
        """Look a second time: the clock starts anew when anything changed."""
        return self if signature == self.signature else Sighting(signature, now)


class Ready(NamedTuple):
    """A file that was found complete and is still open; `Spool.claim` closes *fd*.

    *fd* is None for a file that we may not read: it can be moved all the same. *marker* is
    the name, in the same folder, of the file that said so.
    """

    name: str
    identity: Identity
    fd: int | None
    marker: str | None = None


@dataclass(frozen=True, slots=True)
class Growing:
    """Ask again at *due_at* (monotonic) with *sighting*; a hint may make it sooner."""

    name: str
    due_at: float
    why: Literal["open for writing", "changing", "no marker", "out of file descriptors"]
    sighting: Sighting


@dataclass(frozen=True, slots=True)
class Ignored:
    """Forget the name: *rule* says that it is no item."""

    name: str
    rule: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Leave it alone, and show it: it is no regular file."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Ask again; it was unchanged and unreadable since ``sighting.since`` (monotonic).

    A `Ready` with this *identity* and without descriptor lets it be claimed all the same.
    """

    name: str
    identity: Identity
    sighting: Sighting
    fault: str


@dataclass(frozen=True, slots=True)
class Vanished:
    """Forget the name: nothing is there."""

    name: str


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Discard it: a note of ours that came back together with its file."""

    name: str


Verdict: TypeAlias = Ready | Growing | Ignored | Foreign | Unreadable | Vanished | Sidecar


def identity_of(status: os.stat_result) -> Identity:
    """Reduce a file's status to what makes it the same file."""
    return Identity(status.st_ino, status.st_size, status.st_mtime_ns)


def signature_of(status: os.stat_result) -> tuple[int, ...]:
    """Reduce a file's status to what changes when anything is done to the file."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
