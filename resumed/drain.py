"""Decide when a drain is over, and show how far it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from resumed.daemon import Daemon
from resumed.model import Failed

LOOKS = 2
SHOW_SECONDS = 0.1


@dataclass(slots=True)
class Drain:
    """Ask this after every turn. *show* is given done, failed and what is to go."""

    retry_failures: bool = False
    wait: bool = False
    show: Callable[[int, int, int], None] | None = None
    clock: Callable[[], float] = time.monotonic
    _show_at: float = 0.0
    _begun: bool = False

    def __call__(self, daemon: Daemon) -> bool:
        """Tell whether everything that was ready has been done."""
        if not self._begun:
            self._begun = True
            self._begin(daemon)
        if self.show is not None and self.clock() >= self._show_at:
            self._show_at = self.clock() + SHOW_SECONDS
            tally = daemon.tally()
            known = 0 if self.retry_failures else daemon.engine.intake.known
            self.show(tally.done, tally.failed, tally.to_go + known)
        return self._over(daemon)

    def _begin(self, daemon: Daemon) -> None:
        if not self.retry_failures:
            return
        engine = daemon.engine
        engine.claiming = False
        for entry in list(engine.recorder.ledger.items.values()):
            if isinstance(entry.state, Failed) and entry.kept_as is not None:
                engine.take_up(entry)

    def _over(self, daemon: Daemon) -> bool:
        engine = daemon.engine
        unasked = not engine.space.probe.answered
        # Without space nothing is given out, whatever is ready.
        ready = engine.schedule.ready and not engine.space.on
        if unasked or ready or not engine.quiet():
            return False
        if engine.space.on or engine.paused:
            return True
        waiting = engine.schedule.waiting or engine.foreman.waiting
        working = engine.foreman.working or engine.alert.hooks.busy
        if working or (self.wait and waiting):
            return False
        if self.retry_failures:
            return True
        if engine.intake.scanning:
            return False
        return all(each.times >= LOOKS for each in engine.intake.not_ready())
