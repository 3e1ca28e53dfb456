"""Judge an instance for a monitoring system: one line, performance data, and a status.

0 OK        it takes what comes, and all is as expected
1 WARNING   paused, or something that `[expect]` names is not so; or the configuration has
            mistakes, by which the next start would be refused
2 CRITICAL  the daemon is not there or hangs, or the journal needs a person; where the last to
            run was a drain that ended well, no daemon is missed, and `[expect]` is what counts
3 UNKNOWN   this user may not look, or the configuration does not tell where
"""

from dataclasses import dataclass

from resumed import documents, story, text
from resumed.glance import Glance
from resumed.model import Done, Failed, Held, Record, Removed
from resumed.paths import Paths
from resumed.picture import Picture
from resumed.settings import Expectations

WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
OK, WARNING, CRITICAL, UNKNOWN = range(4)
HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Health:
    """Hold the verdict: its *status*, why, and the numbers."""

    status: int
    why: tuple[str, ...]
    numbers: dict[str, float]

    def line(self) -> str:
        """Write it as monitoring plugins do."""
        told = "; ".join(self.why) or "takes what comes"
        data = " ".join(f"{name}={_written(name, each)}" for name, each in self.numbers.items())
        return f"RESUMED {WORDS[self.status]} - {told.replace('|', '/')} | {data}"

    def document(self) -> Record:
        """Describe it as JSON."""
        word = WORDS[self.status].lower()
        return {"status": word, "why": list(self.why), "numbers": self.numbers}


def judge(
    paths: Paths, glance: Glance, expect: Expectations, mistakes: tuple[str, ...] = ()
) -> Health:
    """Judge what was seen; *mistakes* are those of the configuration."""
    numbers = measure(paths, glance)
    troubles = Picture(glance, None).troubles()
    held = alarms(numbers, expect)
    status = WARNING if troubles or held or mistakes else OK
    if glance.life.state != "up" and glance.drained_at is None:
        status = CRITICAL
    return Health(status, (*troubles, *held.values(), *mistakes), numbers)


def measure(paths: Paths, glance: Glance) -> dict[str, float]:
    """Count what can be counted; what is not known is not there."""
    ledger, now = glance.view.ledger, glance.now
    numbers: dict[str, float] = dict.fromkeys(documents.STATES, 0)
    recent, oldest = 0, now
    for entry in ledger.items.values():
        numbers[documents.state_name(entry.state)] += 1
        if isinstance(entry.state, Failed):
            recent += now - entry.state.at < HOUR_SECONDS
        elif not isinstance(entry.state, Done | Held | Removed):
            oldest = min(oldest, entry.claimed_at)
    numbers |= {f"ever_{outcome}": count for outcome, count in sorted(ledger.counts.items())}
    numbers |= {"inbox": glance.inbox.files, "failed_last_hour": recent}
    numbers["oldest_seconds"] = round(now - oldest, 3)
    claimed_at = story.last_claim(paths)
    if claimed_at is not None:
        numbers["last_arrival_seconds"] = round(now - claimed_at, 3)
    return numbers


def alarms(numbers: dict[str, float], expect: Expectations) -> dict[str, str]:
    """Say by the key in `[expect]` what is not as it is expected to be."""
    held = {}
    quiet = numbers.get("last_arrival_seconds")
    if expect.every_seconds is not None and quiet is not None and quiet > expect.every_seconds:
        every = text.duration(expect.every_seconds)
        told = f"nothing came for {text.duration(round(quiet))}, one is expected every {every}"
        held["every"] = told
    most, oldest = expect.oldest_pending_seconds, numbers["oldest_seconds"]
    if most is not None and oldest > most:
        held["oldest_pending"] = f"an item has been waiting for {text.duration(round(oldest))}"
    limit, failed = expect.growing_failures, numbers["failed_last_hour"]
    if limit is not None and failed >= limit:
        held["growing_failures"] = f"{failed:g} items failed within an hour"
    return held


def _written(name: str, number: float) -> str:
    if name.endswith("_seconds"):
        return f"{number:g}s"
    return f"{number:g}c" if name.startswith("ever_") else f"{number:g}"
