"""Keep a picture of an instance up to date by following its journal.

Each record is read once, as it comes; the folders are looked at every few seconds only. On a
terminal the picture is drawn in place, by rich, which no other command pays for.
"""

import time
from collections.abc import Iterator
from contextlib import closing, suppress

from resumed import glance, journal, pace
from resumed.errors import JournalCorruptError
from resumed.glance import Glance
from resumed.ledger import Ledger
from resumed.listing import fold
from resumed.model import Reading, Record
from resumed.paths import Paths
from resumed.picture import Picture
from resumed.view import Follower, View

LOOK_SECONDS = 2.0
DRAW_SECONDS = 0.25
PACE_SECONDS = 5.0


class Watch:
    """Follow one instance; `turn` returns the newest picture."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._follower = Follower(paths.journal)
        self._ledger = Ledger()
        self._reading: Reading | None = None
        self._next_look = self._next_pace = 0.0

    def turn(self, monotonic: float) -> Picture:
        """Read what is new, look around when that is due, and return the picture.

        Raises:
            JournalCorruptError: A record makes no sense.
        """
        with suppress(FileNotFoundError):
            for line in self._follower.poll():
                self._take(line)
        now = time.time()
        if monotonic >= self._next_look:
            self._next_look = monotonic + LOOK_SECONDS
            self._life = glance.live(self._paths, now)
            self._inbox = glance.inbox(self._paths.inbox)
        if monotonic >= self._next_pace:
            self._next_pace = monotonic + PACE_SECONDS
            self._pace = pace.measure(self._paths, now)
        seen = Glance(
            now,
            self._life,
            View(self._ledger, self._reading),
            self._inbox,
            glance.hints(self._paths),
            self._pace,
        )
        return Picture(seen, glance.disk(self._paths))

    def close(self) -> None:
        """Let go of the journal."""
        self._follower.close()

    def _take(self, line: bytes) -> None:
        record = journal.unseal(line)
        if record is None:
            raise JournalCorruptError(self._paths.journal, 0, "a damaged line")
        if record["kind"] == journal.HEADER:
            self._ledger = Ledger()
        try:
            self._ledger.apply(record)
        except (KeyError, TypeError, ValueError) as error:
            fault = f"a record that contradicts those before it ({error})"
            raise JournalCorruptError(self._paths.journal, record["n"], fault) from error
        self._reading = _reading(record)


def _reading(record: Record) -> Reading:
    number = record["n"]
    return Reading(record["g"], number, record["s"], 0, 0, closed=False, torn=None)


def documents(paths: Paths) -> Iterator[Record]:
    """Yield the picture as a document, first now, then whenever a record changes it."""
    with closing(Watch(paths)) as watch:
        last = ""
        while True:
            picture = watch.turn(time.monotonic())
            reading = picture.glance.view.reading
            mark = f"{reading.generation}:{reading.last}" if reading else "none"
            if mark != last:
                last = mark
                yield picture.document()
            time.sleep(DRAW_SECONDS)


def draw(paths: Paths, command: str, *, colours: bool) -> None:
    """Draw the picture in place until somebody interrupts."""
    from rich.console import Console  # noqa: PLC0415 - for terminals only
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(no_color=not colours)
    with (
        closing(Watch(paths)) as watch,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        drawn = None
        while True:
            picture = watch.turn(time.monotonic())
            lines = [each for line in picture.lines(command) for each in fold(line, console.width)]
            if lines != drawn:
                shown = Text("\n".join(lines), no_wrap=True)
                shown.stylize("red" if picture.troubles() else "green", 0, len(lines[0]))
                live.update(shown, refresh=True)
                drawn = lines
            time.sleep(DRAW_SECONDS)
