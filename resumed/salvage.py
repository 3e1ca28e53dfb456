"""Judge a damaged journal line by line, and save from it what is certain.

`examine` only reads. `repair` makes a new journal beside the old one, which stays as
``journal.broken-TIME``, byte for byte:

1. Where only lines are damaged that retell, the previous file tells the same: nothing is lost.
2. Else every sound line counts. Where lines are missing, nobody knows what they said: if their
   ids can still be read, these items, else each item that was there before them, and of which
   no later record tells how it ended, goes on hold, as does each file in ``active/`` whose
   claim was lost. Held is never wrong: a person looks, and releases or removes. Nothing
   becomes done that was not recorded as done.

An item whose ``done`` is there and whose claim is not is given a claim again, so that it is
put away instead of being run a second time.
"""

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from resumed import compaction, durable, history, journal, story, view
from resumed.arrival import identity_of
from resumed.compaction import FRESH, PREVIOUS
from resumed.entry import Entry
from resumed.errors import JournalCorruptError, JournalError, JournalVersionError
from resumed.journal import FORMAT, HEADER
from resumed.ledger import Ledger, UnknownKindError
from resumed.model import Done, Fact, Failed, Held, Record, Removed
from resumed.paths import Paths

WHY = "journal repaired"
# A later start or wait is no proof that no step was lost before it.
_SETTLING = frozenset({"done", "failed", "held", "removed", "gone"})
_ID = re.compile(rb'"id":"([0-9a-f]{11}-[0-9a-f]{10})"')


@dataclass(frozen=True, slots=True)
class Bad:
    """Point at a line that is not as it was written; *line* counts from 1."""

    line: int
    offset_bytes: int
    fault: str
    id: str | None = None


@dataclass(slots=True)
class Findings:
    """Hold what is in a file: its sound records by line, and its bad lines.

    *proved* is the number up to which all was on the disk; bad lines above are only torn.
    """

    records: list[tuple[int, Record]] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    generation: str = ""
    proved: int = 0

    @property
    def corrupt(self) -> bool:
        """Tell whether anything is damaged that was on the disk."""
        last = self.records[-1][1]["n"] if self.records else 0
        gaps = any(after > before + 1 for before, after in self._steps())
        return not self.records or gaps or self.proved > last

    def _steps(self) -> Iterator[tuple[int, int]]:
        before = 0
        for _, record in self.records:
            yield before, record["n"]
            before = record["n"]


def examine(path: Path) -> Findings:
    """Look at every line of a journal.

    Raises:
        FileNotFoundError: There is none.
        JournalVersionError: A newer program wrote it.
    """
    found = Findings()
    offset = number = 0
    with view.open_journal(path) as file:
        for line_number, line in enumerate(journal.lines(file), start=1):
            record = journal.unseal(line)
            fault = _fault(found, record, number)
            if record is None or fault:
                found.bad.append(Bad(line_number, offset, fault, _legible_id(line)))
            else:
                if record["kind"] == HEADER and record.get("format", FORMAT) > FORMAT:
                    raise JournalVersionError(path, 1, f"format {record['format']} is newer")
                number = record["n"]
                found.generation = found.generation or str(record["g"])
                found.proved = max(found.proved, record["s"])
                found.records.append((line_number, record))
            offset += len(line)
    return found


def _legible_id(line: bytes) -> str | None:
    ids = set(_ID.findall(line))
    return ids.pop().decode() if len(ids) == 1 else None


def _fault(found: Findings, record: Record | None, number: int) -> str:
    if record is None:
        return "does not fit its checksum"
    if found.generation and record["g"] != found.generation:
        return f"belongs to another file, of generation {record['g']}"
    if record["n"] <= number:
        return f"has number {record['n']}, which came before"
    return ""


@dataclass(frozen=True, slots=True)
class Repaired:
    """Say what a repair did: where the old file is now, what was saved, and what is held."""

    broken: str | None
    records: int
    bad: int
    from_previous: bool
    held: tuple[str, ...]


def repair(paths: Paths, generation: str, now: float) -> Repaired:
    """Replace a damaged journal by what is certain; the lock must be held.

    Raises:
        StorageError: The disk refused; the old journal is in place.
        JournalVersionError: A newer program wrote it.
    """
    path = paths.journal
    broken: str | None = None
    found = Findings()
    with suppress(FileNotFoundError):
        found = examine(path)
        broken = _free_name(path, now)
    ledger = _from_previous(path, found)
    from_previous = ledger is not None
    held: list[str] = []
    if ledger is None:
        ledger, held = _salvaged(paths, found)
    if broken is not None and paths.history.is_dir():
        history.archive(path, paths.history)
    for outcome, count in story.counted(paths).items():
        if count > ledger.counts.get(outcome, 0):  # its ending is sound, its claim or header not
            ledger.counts[outcome] = count
    content = _content(ledger, held, generation, found.generation or None, now)
    _place(path, content, broken)
    names = tuple(ledger.items[each].name for each in held)
    return Repaired(broken, len(found.records), len(found.bad), from_previous, names)


def _free_name(path: Path, now: float) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    names = [f"journal.broken-{stamp}", *(f"journal.broken-{stamp}-{n}" for n in range(2, 100))]
    return next(name for name in names if not os.path.lexists(path.with_name(name)))


def _from_previous(path: Path, found: Findings) -> Ledger | None:
    """Take the beginning from the previous file, if all that is damaged retells it."""
    header = next((r for _, r in found.records if r["kind"] == HEADER), None)
    if header is None or not found.bad:
        return None
    retold = int(header["s"])
    numbers = {record["n"] for _, record in found.records}
    missing = set(range(1, max(found.proved, *numbers) + 1)) - numbers
    if not missing or max(missing) > retold:
        return None
    ledger = Ledger()
    try:
        with view.open_journal(path.with_name(PREVIOUS)) as file:
            reading = view.tally(path.with_name(PREVIOUS), file, ledger)
        if reading.generation != header["replaces"]:
            return None
        for _, record in found.records:
            if record["n"] > retold:
                ledger.apply(record)
    except (OSError, JournalError, KeyError, UnknownKindError):
        return None
    return ledger


def _salvaged(paths: Paths, found: Findings) -> tuple[Ledger, list[str]]:
    """Add up the sound records; return the ids to hold."""
    ledger, unclear, lost_claims = Ledger(), set[str](), dict[str, Record]()
    before = line_before = 0
    for line, record in found.records:
        if record["n"] > before + 1:
            unclear |= _touched(found, ledger, (line_before, line), record["n"] - before - 1)
        before, line_before = record["n"], line
        item_id = str(record.get("id", ""))
        try:
            ledger.apply(record)
        except UnknownKindError as error:
            raise JournalVersionError(paths.journal, line, f"an unknown kind, {error}") from error
        except KeyError:
            lost_claims[item_id] = record
            continue
        if record["kind"] in _SETTLING:
            unclear.discard(item_id)
    if found.proved > before:
        unclear |= _touched(found, ledger, (line_before, sys.maxsize), found.proved - before)
    unclear |= _claim_again(paths, ledger, lost_claims)
    items = ledger.items
    return ledger, sorted(i for i in unclear if i in items and not _certain(items[i], paths))


def _touched(found: Findings, ledger: Ledger, lines: tuple[int, int], missing: int) -> set[str]:
    """Return the items that lost records may have been about."""
    first, last = lines
    ids = [each.id for each in found.bad if first < each.line < last]
    if len(ids) >= missing and all(ids):
        return {each for each in ids if each is not None}
    return set(ledger.items)


def _certain(entry: Entry, paths: Paths) -> bool:
    """Tell whether a state cannot have been followed by work that is not known of."""
    match entry.state:
        case Done() | Removed() | Held():
            return True
        case Failed(_, _, _, _, _, kept_as) if kept_as is not None:
            with suppress(OSError):
                status = (paths.failed / kept_as).lstat()
                return identity_of(status) == entry.identity
            return False
        case _:
            return False


def _claim_again(paths: Paths, ledger: Ledger, lost: dict[str, Record]) -> set[str]:
    """Give each file in ``active/`` a claim that has none; return those to hold."""
    to_hold = set()
    for item_id, name, status in _in_active(paths.active):
        if item_id in ledger.items:
            continue
        claim: Record = {
            "kind": "claimed",
            "at": status.st_ctime,
            "id": item_id,
            "name": name,
            "inode": status.st_ino,
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "owner": status.st_uid,
        }
        ledger.apply(claim)
        last = lost.get(item_id, {"kind": ""})
        if last["kind"] == "done":
            ledger.apply({**last, "retold": True})
        else:
            to_hold.add(item_id)
    return to_hold


def _in_active(active: Path) -> Iterator[tuple[str, str, os.stat_result]]:
    with suppress(FileNotFoundError):
        for folder in sorted(active.iterdir()):
            if folder.is_symlink() or not folder.is_dir() or folder.name.endswith(".work"):
                continue
            for path in sorted(folder.iterdir()):
                if path.is_file() and not path.is_symlink():
                    yield folder.name, path.name, path.stat()


def _content(
    ledger: Ledger, held: Iterable[str], generation: str, replaces: str | None, now: float
) -> bytes:
    """Write the new file: what is certain, and then, as news, what is held."""
    header = Fact(HEADER, now, {"counts": dict(ledger.counts)})
    facts = list(ledger.facts())
    content = journal.whole(generation, replaces, header, facts)
    count = len(facts) + 1
    for number, item_id in enumerate(held, start=count + 1):
        fact = Fact("held", now, {"id": item_id, "why": WHY})
        content += journal.seal(number, count, generation, fact)
    return content


def _place(path: Path, content: bytes, broken: str | None) -> None:
    """Let the new file take the old one's place, once it reads well."""
    folder = durable.open_folder(path.parent)
    try:
        durable.write_whole(folder, FRESH, content)
        _, reading = compaction.replay(path.with_name(FRESH))
        if reading.torn or reading.length_bytes != len(content):
            raise JournalCorruptError(path.with_name(FRESH), 0, "does not read as it was written")
        if broken is None:
            durable.move(folder, FRESH, folder, path.name)
            durable.sync_folder(folder)
        else:
            durable.supersede(folder, FRESH, path.name, broken)
    finally:
        os.close(folder)
