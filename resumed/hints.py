"""Collect hints in the threads that hear them, for the loop that takes them.

However much is heard, what is kept is bounded: names beyond it become the advice to scan.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from resumed.stranger import Birth

NAMES_KEPT = 10_000
BURST_EVENTS = 4096


@dataclass(frozen=True, slots=True)
class Hints:
    """What was heard since the last time.

    *names* are to be examined, *births* belong to files that were seen under a temporary
    name. *requests*: look into that folder. *scan*: events were, or may have been, lost;
    *overflow*: the kernel said so. *trouble* is what watchdog complained of.
    """

    names: tuple[str, ...] = ()
    births: tuple[Birth, ...] = ()
    requests: bool = False
    scan: bool = False
    overflow: bool = False
    trouble: str | None = None


_NOTHING = Hints()


class Heard:
    """What the threads say and the loop takes. Every method may be called in any thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """*wake* is called when there is something to take, once until it is taken."""
        self._wake = wake
        self._lock = threading.Lock()
        self._awake = False
        self._names: dict[str, None] = {}
        self._births: dict[Birth, None] = {}
        self._requests = self._scan = self._overflow = False
        self._trouble: str | None = None
        self._burst_since = 0.0
        self._burst_events = 0

    def take(self) -> Hints:
        """Return what was heard since the last time."""
        if not self._awake:
            return _NOTHING
        with self._lock:
            taken = Hints(
                tuple(self._names),
                tuple(self._births),
                self._requests,
                self._scan,
                self._overflow,
                self._trouble,
            )
            self._names, self._births = {}, {}
            self._requests = self._scan = self._overflow = self._awake = False
            self._trouble = None
        return taken

    def name(self, name: str, birth: Birth | None = None) -> None:
        """Hear of a name; beyond what is kept, the folder knows the rest."""
        with self._lock:
            if len(self._names) < NAMES_KEPT:
                self._names[name] = None
            else:
                self._scan = True
        if birth is not None:
            self.birth(birth)
        self._rouse()

    def birth(self, birth: Birth) -> None:
        """Hear of a file under a temporary name; nobody needs to wake for that."""
        with self._lock:
            if len(self._births) < NAMES_KEPT:
                self._births[birth] = None

    def request(self) -> None:
        """Hear that something happened in the folder of requests."""
        self._requests = True
        self._rouse()

    def lost(self, trouble: str | None = None, *, overflow: bool = False) -> None:
        """Hear that events were, or may have been, missed."""
        with self._lock:
            self._scan = True
            self._overflow |= overflow
            self._trouble = self._trouble or trouble
        self._rouse()

    def count(self, now: float) -> None:
        """Suspect an overflow in a burst, since older releases of watchdog keep it secret."""
        if now - self._burst_since > 1.0:
            self._burst_since, self._burst_events = now, 0
        self._burst_events += 1
        if self._burst_events == BURST_EVENTS:
            self.lost()

    def _rouse(self) -> None:
        with self._lock:
            asleep, self._awake = not self._awake, True
        if asleep:
            self._wake()
