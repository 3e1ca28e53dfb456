"""Turn the kernel's watch events into hints: wake the loop, name the files, never decide.

A hint may be late, doubled or missing; the scan is the truth. So everything that goes wrong
here (an overflow of the kernel's queue, a limit, a dead thread) ends in the same advice to
the loop: scan. Nothing here raises into watchdog, whose threads would die of it silently.

Which events are asked for matters twice. Without a filter half of a burst of 100,000 files
overflows the queue. And a moved-from event, such as each of our claims makes, is held back
for half a second by watchdog, with everything behind it. So from watchdog 6 on the mask is
ours and has no moved-from; with older ones hints may be late.

A file that was created under a temporary name and then renamed is complete. Its inode and
birth are noted at the first sight of the temporary name; when it was renamed before we could
look, the file that arrives by rename next is taken for it.
"""

import errno
import logging
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from watchdog import events
from watchdog.observers.inotify import InotifyFullEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants

from resumed import stranger
from resumed.hints import NAMES_KEPT, Heard, Hints

STOP_SECONDS = 0.1

_AT_FDCWD = -100
_GHOST_SECONDS = 1.0
_MASK = (
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_DONT_FOLLOW
)
_WANTED = (
    *("FileCreatedEvent", "FileClosedEvent", "FileMovedEvent", "FileAttribEvent"),
    *("DirCreatedEvent", "DirMovedEvent", "DirDeletedEvent"),
)
_LIMITS = {
    errno.ENOSPC: "fs.inotify.max_user_watches",
    errno.EMFILE: "fs.inotify.max_user_instances",
}


class Watch:
    """Listen to the inbox and to the folder of requests, in threads of watchdog's."""

    def __init__(
        self,
        inbox: Path,
        requests: Path | None,
        *,
        recursive: bool,
        temporary: Callable[[str], bool],
        wake: Callable[[], None],
    ) -> None:
        """*wake* is called from a thread, once for whatever the next `take` returns."""
        self._inbox = inbox
        self._requests = requests
        self._recursive = recursive
        self._heard = Heard(wake)
        self._temporary = temporary
        self._observer: InotifyObserver | None = None
        self._complaints = _Complaints(self._heard)

    def start(self) -> str | None:
        """Begin to listen, or begin again; return why that is not possible.

        Scan after this, never before: what arrives in between would be missed.
        """
        self.stop()
        self._complaints.listen()
        try:
            observer = self._observer = _Observer()
            ear = _Ear(self._inbox, self._heard, self._temporary)
            _schedule(observer, ear, self._inbox, recursive=self._recursive)
            if self._requests is not None:
                bell = _Bell(self._heard)
                _schedule(observer, bell, self._requests, recursive=False)
            observer.start()
        except OSError as error:
            self.stop()
            limit = _LIMITS.get(error.errno or 0)
            said = error.strerror or str(error)
            return f"{said}; raise the limit {limit} with sysctl" if limit else said
        return None

    def take(self) -> Hints:
        """Return what was heard since the last time. Cheap when that is nothing."""
        return self._heard.take()

    def healthy(self) -> bool:
        """Tell whether all threads still live; `start` again when not, then scan."""
        return self._observer is not None and all(
            thread.is_alive() for thread in _threads(self._observer)
        )

    def stop(self) -> None:
        """Stop listening. Threads that do not end at once are left to end by themselves."""
        observer, self._observer = self._observer, None
        if observer is not None:
            self._complaints.ignore()
            stopping = threading.Thread(target=_stop, args=(observer,), daemon=True)
            stopping.start()
            stopping.join(STOP_SECONDS)


class _Ear:
    """Understand the events of the inbox."""

    def __init__(self, inbox: Path, heard: Heard, temporary: Callable[[str], bool]) -> None:
        self._prefix = len(f"{inbox}/")
        self._heard = heard
        self._temporary = temporary
        self._ghosts: deque[float] = deque(maxlen=NAMES_KEPT)

    def dispatch(self, event: Any) -> None:  # noqa: ANN401 - its class differs by release
        """Be called by watchdog; an exception would end its thread."""
        try:
            self._hear(event, time.monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it is, a scan makes up for it
            self._heard.lost(repr(error))

    def _hear(self, event: Any, now: float) -> None:  # noqa: ANN401
        kind = event.event_type
        if kind == "modified":  # older releases tell of every write
            return
        self._heard.count(now)
        if event.is_directory:
            self._heard.lost()
            return
        source, path = (
            (event.src_path, event.dest_path) if kind == "moved" else ("", event.src_path)
        )
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


class _Bell:
    """Ring at whatever happens in the folder of requests."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    def dispatch(self, _: object) -> None:
        """Be called by watchdog."""
        with suppress(Exception):
            self._heard.request()


class _Complaints(logging.Handler):
    """Read what watchdog tells nobody but its log: an overflow above all."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard
        self._logger = logging.getLogger("watchdog")
        self._listening = False

    def listen(self) -> None:
        """Keep the complaints from everybody else."""
        self._logger.addHandler(self)
        self._logger.setLevel(logging.WARNING)
        self._logger.propagate = False
        # It warns of folders that it has come to watch twice: a mkdir -p suffices.
        warnings.filterwarnings("ignore", module=r"watchdog\.")
        self._listening = True

    def ignore(self) -> None:
        """Stop reading: what comes now are the complaints of threads at their end."""
        self._listening = False

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on as trouble."""
        said = record.getMessage()
        overflow = "overflow" in said
        if self._listening:
            self._heard.lost(None if overflow else said, overflow=overflow)


class _Emitter(InotifyFullEmitter):
    """Tell arrivals by rename from others, and ask the kernel for no more than `_MASK`."""

    def get_event_mask_from_filter(self) -> Any:  # noqa: ANN401 - int or Mask, by release
        """Be asked from watchdog 6 on."""
        return _MASK


class _Observer(InotifyObserver):
    def __init__(self) -> None:
        super().__init__(generate_full_events=True)
        self._emitter_class = _Emitter


def _schedule(observer: InotifyObserver, ear: Any, path: Path, *, recursive: bool) -> None:  # noqa: ANN401
    """Filter events where the release can."""
    wanted = [getattr(events, kind, None) for kind in _WANTED]
    schedule: Any = observer.schedule
    try:
        schedule(ear, str(path), recursive=recursive, event_filter=list(filter(None, wanted)))
    except TypeError:
        schedule(ear, str(path), recursive=recursive)


def _threads(observer: InotifyObserver) -> list[threading.Thread]:
    """List the threads of an observer, of whatever release."""
    readers = [getattr(emitter, "_inotify", None) for emitter in observer.emitters]
    threads = [observer, *observer.emitters, *readers, getattr(observer, "_inotify_fd", None)]
    return [thread for thread in threads if isinstance(thread, threading.Thread)]


def _stop(observer: InotifyObserver) -> None:
    with suppress(Exception):
        observer.stop()
