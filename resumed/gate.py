"""Find what is in the inbox, and decide which of it is complete: one gate for every arrival.

Event, start, rescan and cron all ask `Gate.examine`, which never waits: a file that is not
ready yet comes back as `Growing`, with the time at which to ask again. It looks, in this
order, at

1. the name: a temporary one, one that the configuration leaves out, a missing marker;
2. the kind: only a regular file goes on; it is opened without following or blocking;
3. the kernel: nobody may have it open for writing (a momentary read lease);
4. the clock: inode, size, mtime and ctime were the same for *settle_seconds*, counted from
   our own first sight of them, and from when the last writer was gone. A file that was seen
   under a temporary name is complete by its rename. With 0 seconds the lease alone is
   trusted; where it says nothing, a file must be quiet for a second all the same;
5. the content, only of a file named like a sidecar: one of ours is no item.

mtimes are compared with each other, never with a clock: copies bring old ones along.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Protocol

from resumed import stranger
from resumed.arrival import (
    Foreign,
    Growing,
    Ignored,
    Ready,
    Sidecar,
    Sighting,
    Unreadable,
    Vanished,
    Verdict,
    identity_of,
    signature_of,
)
from resumed.errors import StorageError
from resumed.stranger import Birth, Folder

LOOK_AGAIN_SECONDS = 1.0
SIDECAR_SUFFIX = ".failure.txt"

_CHUNK_NAMES = 1000
_BIRTHS_KEPT = 10_000
_HEAD_BYTES = 512
_UNSURE_SECONDS = 1.0
OUR_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_SWAPPED = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR})


class Rules(Protocol):
    """Decide by name alone; `resumed.rules.Rules` does."""

    def ignored_by(self, name: str) -> str | None:
        """Return the rule because of which *name* is no item."""
        ...

    def temporary(self, name: str) -> bool:
        """Tell whether files are still being written under *name*."""
        ...

    def marker_of(self, name: str) -> str | None:
        """Return the name of the marker that makes *name* ready."""
        ...


class Gate:
    """Judge the names of one inbox."""

    def __init__(
        self,
        inbox: Folder,
        rules: Rules,
        *,
        settle_seconds: float,
        clock: Callable[[], float],
        is_sidecar: Callable[[bytes], bool],
    ) -> None:
        """Start with an empty memory; SIGIO is ignored from here on, so be the main thread."""
        stranger.ignore_lease_breaks()
        self._inbox = inbox
        self._rules = rules
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._is_sidecar = is_sidecar
        self._births: dict[int, int] = {}

    def remember(self, births: Iterable[Birth]) -> None:
        """Note files that were seen under a temporary name; the oldest are forgotten."""
        self._births.update(births)
        while len(self._births) > _BIRTHS_KEPT:
            del self._births[next(iter(self._births))]

    def scan(self, *, recursive: bool) -> Iterator[list[tuple[str, int]]]:
        """Yield every name in the inbox with its inode, about a thousand at a time.

        No file is touched. What comes or goes meanwhile may be missed or listed. When
        *recursive*, folders are entered instead of listed, unless their name is a temporary one.
        """
        below = deque([""])
        chunk: list[tuple[str, int]] = []
        while below:
            prefix = below.popleft()
            for entry in self._entries(prefix):
                if not (recursive and entry.is_dir(follow_symlinks=False)):
                    chunk.append((prefix + entry.name, entry.inode()))
                    if len(chunk) >= _CHUNK_NAMES:
                        yield chunk
                        chunk = []
                elif not self._rules.temporary(entry.name):
                    below.append(f"{prefix}{entry.name}/")
        if chunk:
            yield chunk

    def sight(self, name: str) -> Sighting | Ignored | Foreign | Vanished:
        """Look at a name for the first time, without opening anything."""
        last = name
        if "/" in name:
            *folders, last = name.split("/")
            for folder in folders:
                if self._rules.temporary(folder):
                    return Ignored(name, f"folder {folder}")
        rule = None if last.endswith(SIDECAR_SUFFIX) else self._rules.ignored_by(name)
        if rule is not None:
            if self._rules.temporary(last):
                self.remember(filter(None, [self._birth(name)]))
            return Ignored(name, rule)
        status = self._status(name)
        if status is None:
            return Vanished(name)
        kind = stranger.kind_of(status.st_mode)
        return Foreign(name, kind) if kind else Sighting(signature_of(status), self._clock())

    def examine(self, name: str, sighting: Sighting | None) -> Verdict:
        """Judge *name*, which is new when *sighting* is None.

        Costs one stat for a file that is new and must settle, else an open, a lease and a
        close, about 20 us.
        """
        if sighting is None:
            first = self.sight(name)
            if not isinstance(first, Sighting):
                return first
            sighting = first
            due_at = sighting.since + self._quiet_seconds(name, sighting, writer=False)
            if due_at > sighting.since:
                return Growing(name, due_at, "changing", sighting)
        marker = self._rules.marker_of(name)
        if marker is not None and not self._is_file(marker):
            return self._without_marker(name, sighting)
        try:
            fd = stranger.at(self._inbox.fd, name, stranger.open_file)
        except OSError as error:
            return self._not_opened(name, sighting, error)
        verdict: Verdict | None = None
        try:
            verdict = self._judge(fd, name, sighting, marker)
        finally:
            if not isinstance(verdict, Ready):
                os.close(fd)
        return verdict

    def discard(self, name: str) -> None:
        """Unlink a sidecar of ours in the inbox; if it is anything else by now, it stays."""

        def unlink(folder_fd: int, last: str) -> None:
            fd = stranger.open_file(folder_fd, last)
            try:
                if self._is_note(fd):
                    os.unlink(last, dir_fd=folder_fd)
            finally:
                os.close(fd)

        if name.endswith(SIDECAR_SUFFIX):
            with suppress(OSError):
                stranger.at(self._inbox.fd, name, unlink)

    def _judge(self, fd: int, name: str, sighting: Sighting, marker: str | None) -> Verdict:
        status = os.fstat(fd)
        kind = stranger.kind_of(status.st_mode)
        if kind:
            return Foreign(name, kind)
        now = self._clock()
        writer = stranger.has_writer(fd)
        if writer:
            return _written(name, now)
        sighting = sighting.again(signature_of(status), now)
        due_at = sighting.since + self._quiet_seconds(name, sighting, writer=writer)
        if now < due_at:
            return Growing(name, due_at, "changing", sighting)
        if name.endswith(SIDECAR_SUFFIX):
            if self._is_note(fd):
                return Sidecar(name)
            rule = self._rules.ignored_by(name)
            if rule is not None:
                return Ignored(name, rule)
        return Ready(name, identity_of(status), fd, marker and marker.rpartition("/")[2])

    def _quiet_seconds(self, name: str, sighting: Sighting, *, writer: bool | None) -> float:
        """Say how long the file must have looked the same."""
        inode = sighting.signature[0]
        if inode in self._births and self._birth(name) == (inode, self._births[inode]):
            return 0.0
        return (
            self._settle_seconds if writer is False else max(self._settle_seconds, _UNSURE_SECONDS)
        )

    def _without_marker(self, name: str, sighting: Sighting) -> Verdict:
        """Keep the settling going, so that the marker finds the file settled."""
        status = self._status(name)
        if status is None:
            return Vanished(name)
        now = self._clock()
        seen = sighting.again(signature_of(status), now)
        return Growing(name, now + LOOK_AGAIN_SECONDS, "no marker", seen)

    def _not_opened(self, name: str, sighting: Sighting, error: OSError) -> Verdict:
        """Say what it means that a file could not be opened."""
        now = self._clock()
        if error.errno == errno.EAGAIN:  # somebody holds a lease: their writer will be waiting
            return _written(name, now)
        if error.errno in OUR_SHORTAGE:
            return Growing(name, now + LOOK_AGAIN_SECONDS, "out of file descriptors", sighting)
        status = self._status(name)
        if status is None:
            return Vanished(name)
        kind = stranger.kind_of(status.st_mode)
        if kind:
            return Foreign(name, kind)
        if error.errno in _SWAPPED:  # it is a file now, and was something else just before
            return Growing(name, now + LOOK_AGAIN_SECONDS, "changing", Sighting((), now))
        seen = sighting.again(signature_of(status), now)
        return Unreadable(name, identity_of(status), seen, error.strerror or str(error))

    def _entries(self, prefix: str) -> Iterator[os.DirEntry[str]]:
        """List a folder through a descriptor of its own, whose position nobody shares."""
        try:
            fd = stranger.at(self._inbox.fd, prefix, _open_again)
            try:
                entries = os.scandir(fd)
            finally:
                os.close(fd)
            with entries:
                yield from entries
        except OSError as error:
            if not prefix:
                raise StorageError(str(self._inbox.path), error) from error

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return stranger.at(self._inbox.fd, name, stranger.status_at)
        except OSError:
            return None

    def _is_file(self, name: str) -> bool:
        status = self._status(name)
        return status is not None and stranger.kind_of(status.st_mode) is None

    def _birth(self, name: str) -> Birth | None:
        try:
            return stranger.at(self._inbox.fd, name, stranger.birth_of)
        except OSError:
            return None

    def _is_note(self, fd: int) -> bool:
        return stranger.kind_of(os.fstat(fd).st_mode) is None and self._is_sidecar(
            os.pread(fd, _HEAD_BYTES, 0)
        )


def _written(name: str, now: float) -> Growing:
    """Ask again later; without a signature, settling starts when the writer is gone."""
    return Growing(name, now + LOOK_AGAIN_SECONDS, "open for writing", Sighting((), now))


def _open_again(folder_fd: int, _: str) -> int:
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_fd)
