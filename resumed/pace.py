"""Count how much was done lately, from the ends of history and journal; cheap at any length.

Lines are not decoded: a kind and a time at their known places are enough for a count. At
most `READ_BYTES` of each file are read, from its end; a day of more than that is counted in
part, and `whole` says so.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from resumed.model import Record, timestamp
from resumed.paths import Paths

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
HOURS = 24
READ_BYTES = 8 << 20
_ENDING = re.compile(rb'\{"n":(\d+),"s":(\d+),"g":"(\w+)","at":"([^"]+)","kind":"(?:done|failed)"')
_SIGNS = (b'"kind":"done"', b'"kind":"failed"')  # found sooner than all that stands before them
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Pace:
    """Count items that were done or failed in the last minute, hour and day.

    *hours* counts each of the last 24 hours, the latest last.
    """

    minute: int
    hour: int
    day: int
    hours: tuple[int, ...]
    whole: bool

    def document(self) -> Record:
        """Describe it as JSON."""
        return {
            "minute": self.minute,
            "hour": self.hour,
            "day": self.day,
            "hours": list(self.hours),
            "counted_all": self.whole,
        }


def measure(paths: Paths, now: float) -> Pace:
    """Count up to *now*."""
    # Times are compared as they are written: to read them takes longer than all the rest.
    edges = [_written(now - ago * HOUR) for ago in range(HOURS, -1, -1)]
    minute_ago = _written(now - MINUTE)
    seen: set[tuple[bytes, bytes]] = set()
    hours = [0] * HOURS
    minute = 0
    whole = True
    for path in _files(paths, now):
        with suppress(FileNotFoundError):
            content, complete = _end_of(path)
            whole = whole and complete
            for key, at in _endings(content):
                if key not in seen and edges[0] < at <= edges[-1]:
                    seen.add(key)
                    hours[bisect_left(edges, at) - 1] += 1
                    minute += at > minute_ago
    return Pace(minute, hours[-1], sum(hours), tuple(hours), whole)


def sparkline(counts: tuple[int, ...]) -> str:
    """Draw counts as bars of eight heights; what is not nothing is never invisible."""
    most = max(counts, default=0)
    if not most:
        return ""
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in counts)


def _files(paths: Paths, now: float) -> list[Path]:
    days = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d") for at in (now - DAY, now))
    # The journal first: what moves into the history meanwhile is then seen at least once.
    return [paths.journal, *(paths.history / f"{day}.jsonl" for day in days)]


def _end_of(path: Path) -> tuple[bytes, bool]:
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - READ_BYTES))
        return file.read(), length <= READ_BYTES


def _endings(content: bytes) -> Iterator[tuple[tuple[bytes, bytes], bytes]]:
    """Yield generation and number of each ending, and its time as it is written."""
    for sign in _SIGNS:
        place = -1
        while (place := content.find(sign, place + 1)) >= 0:
            found = _ENDING.match(content, content.rfind(b"\n", 0, place) + 1)
            if found is None or found.end() != place + len(sign):
                continue  # a cut line, or words in somebody's result
            number, synced, generation, at = found.groups()
            # Lines of a rewritten file's beginning retell what was counted already.
            if int(number) > int(synced):
                yield (generation, number), at


def _written(at: float) -> bytes:
    return timestamp(at).encode("ascii")
