"""Tell systemd, and whoever looks, how things stand now: at most once a second."""

from pathlib import Path

from resumed.engine import Engine
from resumed.notify import Notifier
from resumed.now import Now

SECONDS = 1.0


class Bulletin:
    """What is shown of the moment, beside what is recorded. Times are monotonic seconds."""

    def __init__(self, state: Path, notifier: Notifier) -> None:
        self._notifier = notifier
        self._now = Now(state)
        self._sentence = ""
        self._shown: tuple[object, ...] = ()
        self._shown_at = -SECONDS

    def show(self, engine: Engine, now: float, *, watching: bool, next_scan: float) -> float | None:
        """Show how things stand, unless that was just done; return when to come again.

        *next_scan* is when the inbox is read again if nothing happens before. Where nothing
        else is to be shown there is nothing to come again for: who is idle is to sleep.
        """
        sentence = _sentence(engine)
        moving = bool(engine.runner.progress)
        standing = (sentence, watching, engine.draining, next_scan, moving)
        if now < self._shown_at + SECONDS:
            still = standing == self._shown and not moving
            return None if still else self._shown_at + SECONDS
        self._shown, self._shown_at = standing, now
        why = engine.space.why
        self._now.tell(
            engine.recorder.now(),
            {item_id: list(done) for item_id, done in engine.runner.progress.items()},
            intake_paused=why,
            watching=watching,
            stopping=engine.draining,
            next_scan_at=round(engine.recorder.now() + next_scan - now),
        )
        if sentence != self._sentence:
            if not self._notifier.status(sentence):
                self._shown = ()
                return self._shown_at + SECONDS
            self._sentence = sentence
        return None

    def drained(self, at: float) -> None:
        """Show that a drain ended well, after which nobody is missed; *at* is a wall time."""
        self._now.tell(at, {}, drained_at=at)

    def close(self) -> None:
        """Show nothing any more."""
        self._now.close()


def _sentence(engine: Engine) -> str:
    schedule = engine.schedule
    sentence = f"{schedule.running} running, {schedule.ready} to go, {schedule.waiting} waiting"
    if engine.space.why is not None:
        return f"intake paused: {engine.space.why}; {sentence}"
    if engine.paused:
        return f"intake paused by request; {sentence}"
    return sentence
