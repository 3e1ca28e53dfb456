"""Prove that nothing is lost: hold the journal against the folders, both ways.

Everything live in the journal must be in the folder that its state names, as the very file;
everything in our folders must be in the journal; the cumulative counts must not be less than
what the history tells. A daemon at work moves files while we look, so what looks wrong is
looked at again, and only what stays wrong is told.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resumed import sidecar, story, view
from resumed.durable import TEMPORARY_PREFIX, spare_name
from resumed.entry import Entry
from resumed.ledger import Ledger
from resumed.model import Done, Failed, Held, Record, Removed, Running
from resumed.paths import Paths

WORK_SUFFIX = ".work"
LOOKS = 4
PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Say what does not agree: a *kind* (missing, unknown, count), where, and what to do."""

    kind: str
    place: str
    sentence: str
    id: str | None = None

    def document(self) -> Record:
        """Describe it as JSON."""
        return {
            "kind": self.kind,
            "place": self.place,
            "sentence": self.sentence,
            "id": self.id,
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """Hold the result: how much was looked at, and what does not agree."""

    items: int
    files: int
    discrepancies: tuple[Discrepancy, ...]


def audit(
    paths: Paths,
    sleep: Callable[[float], None] = time.sleep,
    marker_of: Callable[[str], str | None] = lambda _: None,
) -> Audit:
    """Look until what disagrees has gone, or has stayed the same through several looks.

    *marker_of* names the marker of a file: that goes where the file goes.

    Raises:
        JournalError: A person must look at the journal first.
        RefusedError: This user may not look.
    """
    found = _look(paths, marker_of)
    lasting = set(found.discrepancies)
    for _ in range(LOOKS - 1):
        if not lasting:
            break
        sleep(PAUSE_SECONDS)
        found = _look(paths, marker_of)
        lasting &= set(found.discrepancies)
    told = tuple(each for each in found.discrepancies if each in lasting)
    return Audit(found.items, found.files, told)


def _look(paths: Paths, marker_of: Callable[[str], str | None]) -> Audit:
    try:
        ledger = view.look(paths).ledger
        files = {name: list(_files(getattr(paths, name))) for name in ("active", "hold", "failed")}
        wrong = [*_missing(paths, ledger), *_unknown(paths, ledger, files, marker_of)]
    except PermissionError as error:
        raise view.closed(Path(str(error.filename or paths.spool))) from error
    wrong += _counts(paths, ledger)
    return Audit(len(ledger.items), sum(map(len, files.values())), tuple(wrong))


def _files(folder: Path) -> Iterator[str]:
    """Yield what is below *folder* and is no folder, by its path from there."""
    for place, _, names in os.walk(folder, onerror=_refuse):
        for name in names:
            # A crash may leave a half-written note of ours: no item, and no loss.
            if name.startswith(TEMPORARY_PREFIX):
                continue
            yield str(Path(place, name).relative_to(folder))


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _missing(paths: Paths, ledger: Ledger) -> Iterator[Discrepancy]:
    for entry in ledger.items.values():
        places = list(_places(paths, entry))
        if places and not any(_is_file_of(entry, place) for place in places):
            sentence = f"{entry.name}: {_what_is_there(entry, places)}"
            yield Discrepancy("missing", str(places[0]), sentence, entry.id)


def _what_is_there(entry: Entry, places: list[Path]) -> str:
    """Tell a file that is away from one that another took the place of, as a copy does."""
    if any(place.is_file() for place in places):
        return "another file is in its place; move that into the inbox, or away"
    do = "the next start records it as gone" if entry.kept_as else "a start looks for it"
    return f"its file is not there; {do}"


def _places(paths: Paths, entry: Entry) -> Iterator[Path]:
    """Yield where an item's file may be, the place that its state names first."""
    active = paths.active / entry.id / Path(entry.name).name
    match entry.state:
        case Done() | Removed():
            return
        case Failed(_, _, _, _, _, kept_as):
            yield active if kept_as is None else paths.failed / kept_as
        case Held(_, _, kept_as) if kept_as is not None:
            yield paths.hold / kept_as
            yield paths.failed / kept_as
        case _:
            yield active
            if entry.kept_as is not None:
                yield paths.failed / entry.kept_as
                yield paths.hold / entry.kept_as


def _is_file_of(entry: Entry, place: Path) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        status = place.stat(follow_symlinks=False)
        # A handler may write to its file, or put another in its place.
        return isinstance(entry.state, Running) or status.st_ino == entry.identity.inode
    return False


def _unknown(
    paths: Paths,
    ledger: Ledger,
    files: dict[str, list[str]],
    marker_of: Callable[[str], str | None],
) -> Iterator[Discrepancy]:
    for name in files["active"]:
        folder, slash, _ = name.partition("/")
        if slash and folder.removesuffix(WORK_SUFFIX) not in ledger.items:
            sentence = f"{name}: no record speaks of it; the next start adopts it"
            yield Discrepancy("unknown", str(paths.active / name), sentence)
    kept = {entry.kept_as for entry in ledger.items.values() if entry.kept_as is not None}
    known = kept | {sidecar.name_for(name) for name in kept}
    for entry in ledger.items.values():
        known.update(_markers(entry, marker_of))
    for shelf in ("hold", "failed"):
        for name in files[shelf]:
            if name not in known:
                sentence = f"{name}: no record speaks of it; move it into the inbox, or away"
                yield Discrepancy("unknown", str(getattr(paths, shelf) / name), sentence)


def _markers(entry: Entry, marker_of: Callable[[str], str | None]) -> Iterator[str]:
    """Yield the names that the marker of a kept file may have."""
    marker = marker_of(entry.name.rpartition("/")[2])
    if marker is not None and entry.kept_as is not None:
        before = entry.kept_as[: entry.kept_as.rfind("/") + 1]
        yield before + spare_name(marker, entry.id)
        if entry.kept_as == entry.name:
            yield before + marker


def _counts(paths: Paths, ledger: Ledger) -> Iterator[Discrepancy]:
    for outcome, count in story.counted(paths).items():
        counted = ledger.counts.get(outcome, 0)
        if counted < count:
            sentence = f"the journal counts {counted}, the history tells of {count} {outcome}"
            sentence += "; only that number is wrong, no file"
            yield Discrepancy("count", str(paths.journal), sentence)
