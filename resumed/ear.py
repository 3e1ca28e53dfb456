"""Understand what watchdog tells of the inbox and of the folder of requests.

A file that was created under a temporary name and then renamed is complete. Its inode and
birth are noted at the first sight of the temporary name; when it was renamed before we could
look, the file that arrives by rename next is taken for it.

Everything here runs in threads of watchdog's, and nothing here raises into them.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from resumed import stranger
from resumed.hints import NAMES_KEPT, Heard

_AT_FDCWD = -100
_GHOST_SECONDS = 1.0


class Hearer(Protocol):
    """Whoever is told of events, in either form."""

    def dispatch(self, event: Any) -> None:  # noqa: ANN401 - its class differs by release
        """Take an event of watchdog's."""
        ...

    def hear(self, kind: str, path: str) -> None:
        """Take what happened (``created``, ``moved``, ``closed``, ``attrib``) to which path."""
        ...


class Ear:
    """Understand the events of the inbox."""

    def __init__(self, inbox: Path, heard: Heard, temporary: Callable[[str], bool]) -> None:
        self._prefix = len(f"{inbox}/")
        self._heard = heard
        self._temporary = temporary
        self._ghosts: deque[float] = deque(maxlen=NAMES_KEPT)

    def dispatch(self, event: Any) -> None:  # noqa: ANN401 - its class differs by release
        """Be called by watchdog, whose thread an exception would end."""
        kind = event.event_type
        source, path = (
            (event.src_path, event.dest_path) if kind == "moved" else ("", event.src_path)
        )
        self.hear("folder" if event.is_directory and kind != "modified" else kind, path, source)

    def hear(self, kind: str, path: str, source: str = "") -> None:
        """Understand what happened to *path*; never raises."""
        try:
            self._hear(kind, path, source, time.monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it is, a scan makes up for it
            self._heard.lost(repr(error))

    def _hear(self, kind: str, path: str, source: str, now: float) -> None:
        if kind == "modified":  # older releases tell of every write
            return
        self._heard.count(now)
        if kind == "folder":
            self._heard.lost()
            return
        if kind == "deleted" or not path:
            return
        name = path[self._prefix :]
        if self._temporary(name):
            self._note(path, kind, now)
        elif kind == "moved" and self._was_temporary(source, now):
            self._heard.name(name, stranger.birth_of(_AT_FDCWD, path))
        else:
            self._heard.name(name)

    def _note(self, path: str, kind: str, now: float) -> None:
        """Look at a temporary file while it is there."""
        birth = stranger.birth_of(_AT_FDCWD, path)
        if birth is not None:
            self._heard.birth(birth)
        elif kind == "created":
            self._ghosts.append(now)

    def _was_temporary(self, source: str, now: float) -> bool:
        """Tell whether a file arrived from a temporary name, by name or by its ghost."""
        if source:
            return self._temporary(source)
        while self._ghosts:
            if now - self._ghosts.popleft() < _GHOST_SECONDS:
                return True
        return False


class Bell:
    """Ring at whatever happens in the folder of requests."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    def dispatch(self, _: object) -> None:
        """Be called by watchdog."""
        self.hear()

    def hear(self, *_: object) -> None:
        """Ring; it never raises."""
        with suppress(Exception):
            self._heard.request()
