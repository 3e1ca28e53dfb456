"""Remember how far a long journal was skimmed, and what it had told by then.

A journal of 200 MB takes two seconds to skim; who looks at it each minute need not read again
what cannot have changed. So the reader keeps a bookmark for itself, in its user's own cache
(``$XDG_CACHE_HOME/resumed`` or ``~/.cache/resumed``; without one, all is read each time). The
daemon neither writes nor reads bookmarks, so they cost it nothing and it may be of any version.

A bookmark is a hint and never a truth: it holds no item, only where in the journal the lines of
each are, and these lines are read and checked like all others. It is believed when

- it is whole, of this program's version, and ours alone;
- the journal is the same file (device and inode), no shorter than it was then, and, when no
  longer, not written to since;
- `SAMPLES` blocks of what was read then, the first and the last among them, are what they were.

Else, and whenever anything after it does not fit, all is read again before a word is said. What
this cannot see is damage to a line, far from the end, of an item that is merely counted:
``journal check`` and each start of the daemon read all.

The file: a CRC-32 of all after it; a line of JSON; then for each item a byte with its state, where
its places begin in the list of places, those places, and its id, each as long as the line says.
"""

import json
import os
import stat
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from resumed import __version__, durable
from resumed.errors import StorageError
from resumed.model import Reading, Record

WORTH_BYTES = 2 << 20
SAMPLES = 64
_BLOCK_BYTES = 4096
_CHECKED = 9  # eight hex digits and a line feed
_OVER = 0
_NAMES = (
    "pending",
    "running",
    "waiting",
    "open",
    "held",
    "failed",
    "done",
    "removed",
)


@dataclass(slots=True)
class Bookmark:
    """What was known of a journal at one place of it.

    Items are known by numbers; *states* has a byte for each, *starts* where its *places* begin.
    """

    reading: Reading
    counts: dict[str, int]
    of_all: list[int]
    states: bytearray
    starts: "array[int]"
    places: "array[int]"
    ids: bytes
    _numbers: dict[str, int] | None = None

    def take(self, item_id: str) -> tuple[str, list[int]] | None:
        """Hand over one item, its state and its places; it is not in here any more."""
        if self._numbers is None:
            self._numbers = {each: n for n, each in enumerate(self.ids.decode("ascii").split("\n"))}
        number = self._numbers.pop(item_id, None)
        if number is None or not self.states:
            return None
        code, self.states[number] = self.states[number], _OVER
        return _NAMES[code - 1], self.places_of(number)

    def places_of(self, number: int) -> list[int]:
        """Return where the lines of an item are."""
        return self.places[self.starts[number] : self.starts[number + 1]].tolist()

    def in_state(self, state: str) -> Iterator[int]:
        """Yield the numbers of the items in one state."""
        code, number = _NAMES.index(state) + 1, -1
        while (number := self.states.find(code, number + 1)) >= 0:
            yield number

    def by_state(self) -> dict[str, int]:
        """Count the items by state, where there are any."""
        counted = {name: self.states.count(code) for code, name in enumerate(_NAMES, 1)}
        return {name: count for name, count in counted.items() if count}

    def items(self) -> Iterator[tuple[str, str, list[int]]]:
        """Yield id, state and places of all that is in here."""
        ids = self.ids.decode("ascii").split("\n")
        for number, code in enumerate(self.states):
            if code != _OVER:
                yield ids[number], _NAMES[code - 1], self.places_of(number)


def make(
    reading: Reading,
    counts: Counter[str],
    of_all: Iterable[int],
    items: Iterable[tuple[str, str, list[int]]],
) -> Bookmark:
    """Make a bookmark of what was read."""
    states, starts, places = bytearray(), array("Q", [0]), array("Q")
    ids = []
    for item_id, state, of_item in items:
        states.append(_NAMES.index(state) + 1)
        places.extend(of_item)
        starts.append(len(places))
        ids.append(item_id)
    plain = replace(reading, torn=None)
    written = "\n".join(ids).encode("ascii", "replace")
    return Bookmark(plain, dict(counts), list(of_all), states, starts, places, written)


def find(path: Path, journal: BinaryIO) -> Bookmark | None:
    """Find what is known of an open journal; None when nothing is, or it does not fit."""
    place = _place_of(path)
    status = os.fstat(journal.fileno())
    if place is None or status.st_size < WORTH_BYTES:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        about, rest = _read(place)
        found = _parse(about, rest)
        length = found.reading.length_bytes
        same = about["place"] == _face(path, status) and length <= status.st_size
        untouched = length < status.st_size or about["mtime_ns"] == status.st_mtime_ns
        if same and untouched and about["samples"] == _sample(journal, length):
            return found
    return None


def keep(path: Path, journal: BinaryIO, mark: Bookmark, mtime_ns: int) -> None:
    """Keep *mark* for the next look; where that cannot be, nothing is lost.

    *mtime_ns* is when the journal had been written to at last when it was read to its end.
    """
    place = _place_of(path)
    if place is None or not _fits(mark):
        return
    about: Record = {
        "program": __version__,
        "place": _face(path, os.fstat(journal.fileno())),
        "mtime_ns": mtime_ns,
        "samples": _sample(journal, mark.reading.length_bytes),
        "reading": {name: getattr(mark.reading, name) for name in _READING},
        "counts": mark.counts,
        "of_all": mark.of_all,
        "items": len(mark.states),
        "places": len(mark.places),
    }
    pieces = (mark.states, mark.starts.tobytes(), mark.places.tobytes(), mark.ids)
    content = b"".join((json.dumps(about).encode("ascii"), b"\n", *pieces))
    with suppress(OSError, StorageError):
        place.parent.mkdir(mode=0o700, exist_ok=True)
        folder = durable.open_folder(place.parent)
        try:
            durable.replace(folder, place.name, b"%08x\n" % zlib.crc32(content) + content, 0o600)
        finally:
            os.close(folder)


_READING = ("generation", "last", "synced", "length_bytes", "news", "closed")


def _fits(mark: Bookmark) -> bool:
    """Tell whether all ids are such as can be told apart in a list of lines."""
    return mark.ids.count(b"\n") == max(0, len(mark.states) - 1) and b"?" not in mark.ids


def _place_of(path: Path) -> Path | None:
    """Name the bookmark of a journal, in a cache that is this user's; None without one."""
    given = os.environ.get("XDG_CACHE_HOME") or ""
    home = os.environ.get("HOME") or ""
    folder = Path(given) if given.startswith("/") else Path(home, ".cache")
    try:
        # With sudo the home may be somebody else's: neither believed then nor littered.
        ours = folder.stat().st_uid == os.geteuid()
    except OSError:
        return None
    name = f"{zlib.crc32(os.fsencode(path.absolute())):08x}.bookmark"
    return folder / "resumed" / name if ours and folder.is_absolute() else None


def _face(path: Path, status: os.stat_result) -> list[str | int]:
    return [os.fsencode(path.absolute()).hex(), status.st_dev, status.st_ino]


def _sample(journal: BinaryIO, length_bytes: int) -> int:
    """Add up blocks from all over the part that was read."""
    checksum = 0
    last = max(0, length_bytes - _BLOCK_BYTES)
    for turn in range(SAMPLES):
        block = os.pread(journal.fileno(), _BLOCK_BYTES, last * turn // (SAMPLES - 1))
        checksum = zlib.crc32(block[:length_bytes], checksum)
    return checksum


def _read(place: Path) -> tuple[dict[str, Any], bytes]:
    """Read a bookmark's file.

    Raises:
        OSError: There is none.
        ValueError: It is not whole, or not ours alone.
    """
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        status = os.fstat(descriptor)
        foreign = status.st_uid != os.geteuid() or status.st_mode & 0o022
        if foreign or not stat.S_ISREG(status.st_mode):
            raise ValueError("not ours alone")
        content = file.read()
    if content[:_CHECKED] != b"%08x\n" % zlib.crc32(memoryview(content)[_CHECKED:]):
        raise ValueError("not whole")
    end = content.index(b"\n", _CHECKED)
    about = json.loads(content[_CHECKED:end])
    if about["program"] != __version__:
        raise ValueError("of another version")
    return about, content[end + 1 :]


def _parse(about: dict[str, Any], rest: bytes) -> Bookmark:
    items, width = int(about["items"]), array("Q").itemsize
    ends = [items, items + (items + 1) * width]
    ends.append(ends[1] + int(about["places"]) * width)
    starts, places = array("Q"), array("Q")
    starts.frombytes(rest[ends[0] : ends[1]])
    places.frombytes(rest[ends[1] : ends[2]])
    reading = Reading(**about["reading"], torn=None)
    states = bytearray(rest[: ends[0]])
    ids = rest[ends[2] :]
    return Bookmark(reading, about["counts"], about["of_all"], states, starts, places, ids)
