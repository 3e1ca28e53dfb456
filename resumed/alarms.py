"""Notice the absence of what is normal: arrivals that stop, items that wait, failures that grow.

Pure: what is known comes in, the alarms that hold come out. An alarm is told when it begins,
and not again until it has ended.
"""

from collections import deque

from resumed import text
from resumed.ledger import Ledger
from resumed.model import Done, Failed, Held, Removed
from resumed.settings import Expectations

HOUR_SECONDS = 3600.0


class Alarms:
    """The alarms of one instance. Times are seconds since the epoch."""

    def __init__(self, now: float) -> None:
        """Begin to expect at *now*: what came before the start is not known here."""
        self._arrived_at = now
        self._failures: deque[float] = deque()
        self._on: set[str] = set()

    def arrived(self, at: float) -> None:
        """Note that something came."""
        self._arrived_at = at

    def failed(self, at: float) -> None:
        """Note that an item failed."""
        self._failures.append(at)

    def turn(self, expect: Expectations, ledger: Ledger, now: float) -> list[str]:
        """Return the alarms that hold and were not told yet."""
        held = dict(self._held(expect, ledger, now))
        fresh = [sentence for kind, sentence in held.items() if kind not in self._on]
        self._on = set(held)
        return fresh

    def _held(self, expect: Expectations, ledger: Ledger, now: float) -> list[tuple[str, str]]:
        held = []
        if expect.every_seconds is not None and now - self._arrived_at > expect.every_seconds:
            quiet, every = (
                text.duration(now - self._arrived_at),
                text.duration(expect.every_seconds),
            )
            held.append(("every", f"nothing came for {quiet}, one is expected every {every}"))
        if expect.oldest_pending_seconds is not None:
            oldest = now - min(_pending(ledger), default=now)
            if oldest > expect.oldest_pending_seconds:
                held.append(("oldest", f"an item has been waiting for {text.duration(oldest)}"))
        while self._failures and now - self._failures[0] > HOUR_SECONDS:
            self._failures.popleft()
        most = expect.growing_failures
        if most is not None and len(self._failures) >= most:
            held.append(("failures", f"{len(self._failures)} items failed within an hour"))
        return held


def _pending(ledger: Ledger) -> list[float]:
    over = Done | Failed | Held | Removed
    return [each.claimed_at for each in ledger.items.values() if not isinstance(each.state, over)]
