"""Decide how much a worker is sent before it needs it, and when to ask it back.

As much as it ends while the daemon's loop is busy elsewhere, so that it never waits, and no
more, so that what was sent is not stuck behind an item that turns out to be slow. Times are
monotonic seconds.
"""

from resumed.mark import AHEAD_LIMIT

AHEAD_SECONDS = 0.005
AHEAD_MOST_SECONDS = 0.05
RECALL_SECONDS = 0.1
_SHORTEST_SECONDS = 1e-5


class Supply:
    """What was sent to each worker and not begun, and how fast things go."""

    def __init__(self, ahead: int) -> None:
        """*ahead* is a fixed number of items; below zero it follows their speed."""
        self.ahead = ahead
        self._seconds = self._ahead_seconds = AHEAD_SECONDS
        self._unbegun: dict[int, int] = {}
        self._began_at: dict[int, float] = {}

    def share(self, room: int, fair: int) -> int:
        """Say how many a worker may be sent now that has *room*, *fair* being its part of all."""
        ahead = self.ahead if self.ahead >= 0 else int(self._ahead_seconds / self._seconds)
        return min(1 + ahead - (AHEAD_LIMIT - room), max(fair, 1), room)

    def sent(self, worker: int, count: int) -> None:
        """Note what was sent."""
        self._unbegun[worker] = self._unbegun.get(worker, 0) + count

    def began(self, worker: int, now: float) -> None:
        """Note that a worker began the next of what it was sent."""
        self._began_at[worker] = now
        self._unbegun[worker] = self._unbegun.get(worker, 1) - 1

    def ended(self, worker: int) -> None:
        """Note that a worker ended what it had begun."""
        self._began_at.pop(worker, None)

    def lost(self, worker: int) -> None:
        """Forget a worker."""
        self._began_at.pop(worker, None)
        self._unbegun.pop(worker, None)

    def recalled(self) -> None:
        """Note that everything not begun was asked back."""
        self._unbegun.clear()

    def learn(self, seconds: float) -> None:
        """Learn from an attempt how long one takes."""
        self._seconds += (max(seconds, _SHORTEST_SECONDS) - self._seconds) / 8

    def note_turn(self, seconds: float) -> None:
        """Send enough for a turn of the loop as long as the longest of late.

        On a slow disk that is mostly syncs, during which nobody gives out anything.
        """
        enough = max(2 * seconds, 0.95 * self._ahead_seconds, AHEAD_SECONDS)
        self._ahead_seconds = min(enough, AHEAD_MOST_SECONDS)

    def due(self) -> float | None:
        """Say when to ask back what is stuck behind a long attempt."""
        stuck = [at for w, at in self._began_at.items() if self._unbegun.get(w, 0) > 0]
        return min(stuck) + RECALL_SECONDS if stuck else None
