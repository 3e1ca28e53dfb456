"""Turn the kernel's watch events into hints: wake the loop, name the files, never decide.

A hint may be late, doubled or missing; the scan is the truth. So everything that goes wrong
here (an overflow of the kernel's queue, a limit, a dead thread) ends in the same advice to
the loop: scan. Nothing here raises into watchdog, whose threads would die of it silently.

Which events are asked for matters twice. Without a filter half of a burst of 100,000 files
overflows the queue. And a moved-from event, such as each of our claims makes, is held back
for half a second by watchdog, with everything behind it. So from watchdog 6 on the mask is
ours and has no moved-from; with older ones hints may be late.

Nor do hints wait for watchdog's other threads: what its emitter would put into the queue of
the observer is heard at once, and from watchdog 7 on, plain events of files are heard in the
very thread that reads them from the kernel. Each thread less is a tenth of a millisecond.
"""

import errno
import logging
import os
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from watchdog import events
from watchdog.observers.inotify import InotifyFullEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants

from resumed.ear import Bell, Ear, Hearer
from resumed.hints import Heard, Hints

STOP_SECONDS = 0.1

_MASK = (
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_DONT_FOLLOW
)
# What a reader may tell of a file by itself: never of a folder, of which watchdog keeps books.
_PLAIN = {
    InotifyConstants.IN_CREATE: "created",
    InotifyConstants.IN_MOVED_TO: "moved",
    InotifyConstants.IN_CLOSE_WRITE: "closed",
    InotifyConstants.IN_ATTRIB: "attrib",
}
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
        self._observer: _Observer | None = None
        self._complaints = _Complaints(self._heard)

    def start(self) -> str | None:
        """Begin to listen, or begin again; return why that is not possible.

        Scan after this, never before: what arrives in between would be missed.
        """
        self.stop()
        self._complaints.listen()
        try:
            observer = self._observer = _Observer()
            ear = Ear(self._inbox, self._heard, self._temporary)
            observer.listen(ear, self._inbox, recursive=self._recursive)
            if self._requests is not None:
                observer.listen(Bell(self._heard), self._requests, recursive=False)
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
    """Tell arrivals by rename from others, ask for no more than `_MASK`, and tell at once."""

    def __init__(self, hearer: Hearer, *arguments: Any, **keywords: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **keywords)
        self._hearer = hearer

    def get_event_mask_from_filter(self) -> Any:  # noqa: ANN401 - int or Mask, by release
        """Be asked from watchdog 6 on."""
        return _MASK

    def queue_event(self, event: Any) -> None:  # noqa: ANN401
        """Skip the queue of the observer, and its thread."""
        self._hearer.dispatch(event)

    def on_thread_start(self) -> None:
        """Skip the thread of the emitter, too, where there is a queue between it and the reader."""
        super().on_thread_start()
        group: Any = self._inotify
        with suppress(AttributeError):
            queue = group._move_event_grouper  # noqa: SLF001 - there is no other door
            group._move_event_grouper = _Short(queue, self._hearer)  # noqa: SLF001


class _Short:
    """Take the place of the queue between reader and emitter, which holds moves back."""

    def __init__(self, queue: Any, hearer: Hearer) -> None:  # noqa: ANN401
        self._queue = queue
        self._hearer = hearer

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._queue, name)

    def put_event(self, event: Any) -> None:  # noqa: ANN401
        """Let a plain event of a file be heard now, and leave the others to the emitter."""
        kind = _PLAIN.get(event.ev.mask)
        if kind is None:
            self._queue.put_event(event)
        else:
            self._hearer.hear(kind, os.fsdecode(event.path))


class _Observer(InotifyObserver):
    def __init__(self) -> None:
        super().__init__(generate_full_events=True)

    def listen(self, hearer: Hearer, path: Path, *, recursive: bool) -> None:
        """Let *hearer* hear of what happens in a folder."""
        made: Any = partial(_Emitter, hearer)
        self._emitter_class = made
        _schedule(self, hearer, path, recursive=recursive)


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
