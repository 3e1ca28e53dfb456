"""Let the daemon tell what no record says: how far handlers are, and why nothing is taken.

It is one page of ``STATE/now.json``, written in place and never synced: a hint for people who
look, which may be old or missing, and on which nothing depends. What is written is::

    {"at": 1763812800.0, "intake_paused": "the disk is nearly full", "watching": true,
     "stopping": false, "next_scan_at": 1763812860.0, "progress": {"019a...": [3, 10]}}

padded with spaces. Times are seconds since the epoch; *intake_paused* is null while all is
well, *watching* false where the kernel tells of no changes and only scans find them; *stopping*
true from the signal to the end. A drain that came to its end leaves
``{"at": ..., "drained_at": 1763812800.0, "progress": {}}``.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

FILE = "now.json"
PAGE_BYTES = 1 << 14
_TRIES = 3
_MOST = 1e100


class Now:
    """The writing end, in the daemon."""

    def __init__(self, state: Path) -> None:
        """Open the page; where that is not possible nothing is told."""
        self._fd = -1
        self._told = ""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(OSError):
            self._fd = os.open(state / FILE, flags, 0o640)

    def tell(self, at: float, progress: dict[str, list[float | None]], **facts: object) -> None:
        """Write what is so *at* this moment, if it differs from what was written."""
        shown = {each: far for each, far in list(progress.items())[:100] if _is_far(*far)}
        line = json.dumps({**facts, "progress": shown}, separators=(",", ":"))[1:]
        page = f'{{"at":{at:.3f},{line}'.encode("ascii")
        if self._fd >= 0 and line != self._told and len(page) <= PAGE_BYTES:
            with suppress(OSError):
                os.pwrite(self._fd, page.ljust(PAGE_BYTES), 0)
            self._told = line

    def close(self) -> None:
        """Let go of the file; what it tells is over with this process."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _is_far(done: object, total: object) -> bool:
    """Tell whether a handler told two numbers, or one, that can be reckoned with and shown."""
    told = (done,) if total is None else (done, total)
    return all(isinstance(each, int | float) and abs(each) <= _MOST for each in told)


def read(state: Path) -> dict[str, Any]:
    """Read what the daemon tells of itself; nothing, when that cannot be read."""
    for _ in range(_TRIES):
        try:
            with (state / FILE).open("rb") as file:
                told = json.loads(file.read(PAGE_BYTES))
        except OSError:
            break
        except ValueError:
            continue  # it was being written
        return told if isinstance(told, dict) else {}
    return {}
