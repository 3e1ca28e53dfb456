"""Tell what happened, from the history and the journal together, each fact once.

The journal is read first and told last: what moves from it into the history meanwhile is
then found in both, and told once, rather than in neither. Lines are picked by the bytes that
must be in them and decoded only then, so that years of history are read at the disk's speed.
"""

import fnmatch
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from resumed import history, view
from resumed.documents import fact, item, short_kind
from resumed.entry import Entry
from resumed.journal import lines, unseal
from resumed.ledger import Ledger
from resumed.listing import document
from resumed.model import JSON, Record, instant
from resumed.paths import Paths

OUTCOMES = ("done", "failed", "gone", "removed")
_ID_TIME_DIGITS = 11


def facts(paths: Paths, needles: Iterable[bytes], *, since: str = "") -> Iterator[Record]:
    """Yield the facts whose lines hold one of *needles*, oldest first, from a day on.

    Raises:
        RefusedError: This user may not read them.
    """
    wanted = tuple(needles)
    fresh: list[bytes] = []
    try:
        with suppress(FileNotFoundError), view.open_journal(paths.journal) as file:
            fresh = [line for line in lines(file) if any(each in line for each in wanted)]
    except PermissionError as error:
        raise view.closed(paths.journal) from error
    seen: set[tuple[object, object]] = set()
    for path in _days(paths.history, since[:10]):
        with path.open("rb") as file:
            picked = (line for line in file if any(each in line for each in wanted))
            yield from history.once(
                filter(history.is_news, filter(None, map(unseal, picked))), seen
            )
    kept = filter(history.is_news, filter(None, map(unseal, fresh)))
    yield from (each for each in history.once(kept, seen) if each["at"] >= since)


def _days(folder: Path, since: str) -> list[Path]:
    try:
        return [each for each in sorted(folder.glob("????-??-??.jsonl")) if each.stem >= since]
    except PermissionError as error:
        raise view.closed(folder) from error


def of_item(paths: Paths, item_id: str) -> list[Record]:
    """Return the whole story of one item."""
    return list(facts(paths, [_holding("id", item_id)], since=claim_day(item_id)))


def day_of(at: float) -> str:
    """Name the day of an instant as the history's files are named."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def claim_day(item_id: str) -> str:
    """Read from an id on which day its item was claimed, "" when it is no id."""
    with suppress(ValueError, OverflowError, OSError):
        seconds = int(item_id[:_ID_TIME_DIGITS], 16) / 1000
        return day_of(seconds)
    return ""


def ids_called(paths: Paths, name: str) -> list[str]:
    """Find all items that were ever called *name*, as file, as kept or by id, oldest first."""
    needles = [_holding(key, name) for key in ("name", "as", "id")]
    return list(dict.fromkeys(str(each["id"]) for each in facts(paths, needles) if "id" in each))


def _holding(key: str, value: str) -> bytes:
    return f"{document(key)}:{document(value)}".encode("ascii")


def told_of_past(item_id: str, story: Iterable[Record]) -> Record:
    """Describe an item that is over, as far as its *story* is still kept."""
    ledger = Ledger()
    last: Entry | None = None
    for record in story:
        # Of a story whose beginning was deleted by age the rest means nothing to a ledger.
        with suppress(KeyError):
            ledger.apply(record)
            last = ledger.items.get(item_id, last)
        if record["kind"] == "gone" and last is not None:
            return {**item(last), "state": "gone", "why": record["why"], "gone_at": record["at"]}
    return item(last) if last is not None else {"id": item_id, "name": None, "state": "unknown"}


def outcomes(paths: Paths, *, since: float | None = None) -> Iterator[Record]:
    """Yield the facts by which items ended, each with its item's name, oldest first."""
    start = "" if since is None else day_of(since)
    kinds = [_holding("kind", kind) for kind in (*OUTCOMES, "claimed")]
    names = _names(paths, start, kinds)
    for record in facts(paths, kinds[:-1], since=start):
        if record["kind"] in OUTCOMES and (since is None or instant(record["at"]) >= since):
            yield {**fact(record), "name": names.get(record["id"])}


def counted(paths: Paths) -> dict[str, int]:
    """Count by outcome the endings of which journal and history tell."""
    told = dict.fromkeys(OUTCOMES, 0)
    for record in facts(paths, [_holding("kind", kind) for kind in OUTCOMES]):
        if record["kind"] in OUTCOMES:
            told[record["kind"]] += 1
    return told


def _names(paths: Paths, start: str, kinds: list[bytes]) -> dict[str, str]:
    """Name the items that were claimed or ended from a day on."""
    names: dict[str, str] = {}
    nameless: set[str] = set()
    for record in facts(paths, kinds, since=start):
        if record["kind"] == "claimed":
            names[record["id"]] = record["name"]
        elif record["kind"] in OUTCOMES and record["id"] not in names:
            nameless.add(record["id"])
    if nameless:
        earliest = min(map(claim_day, nameless))
        for record in facts(paths, kinds[-1:], since=earliest):
            if record["kind"] == "claimed" and record["id"] in nameless:
                names[record["id"]] = record["name"]
    return names


def everything(paths: Paths) -> Iterator[Record]:
    """Yield every fact that is kept, oldest first."""
    yield from facts(paths, [b"{"])


def last_claim(paths: Paths) -> float | None:
    """Return when the last item was claimed, None when nothing is kept of any."""
    needle = _holding("kind", "claimed")
    for path in (paths.journal, *reversed(_days(paths.history, ""))):
        last = None
        with suppress(FileNotFoundError), path.open("rb") as file:
            for line in file:
                if needle in line:
                    last = line
        if last is not None and (record := unseal(last)) is not None:
            return instant(record["at"])
    return None


class Diary:
    """Pick the facts that are about some items, as they come by; names are learnt from claims."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        """*patterns* fit names or ids; without one, all facts are picked."""
        self._patterns = patterns
        self._names: dict[str, str] = {}

    def pick(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield those of *records* that are about the items."""
        for record in records:
            if record["kind"] == "claimed":
                self._names[record["id"]] = record["name"]
            if self._fits(record):
                yield record

    def name_of(self, record: Record) -> str | None:
        """Name the item that a record is about, None when it is about none, or not known."""
        return self._names.get(record.get("id", ""))

    def _fits(self, record: Record) -> bool:
        if not self._patterns:
            return True
        names = (self.name_of(record) or "", str(record.get("id", "")))
        return any(fnmatch.fnmatchcase(name, each) for each in self._patterns for name in names)


@dataclass(slots=True)
class Past:
    """What an ended item has left: its name, its steps, and what its handler returned."""

    name: str
    steps: dict[str, JSON] = field(default_factory=dict)
    result: JSON = None
    done: bool = False
    over: bool = False


def past_items(paths: Paths) -> Iterator[Past]:
    """Yield the items that were done, oldest first."""
    kinds = ("claimed", "stepped", "done", "retried", "versioned", "gone", "removed", "put_away")
    at_work: dict[str, Past] = {}
    for record in facts(paths, [_holding("kind", kind) for kind in kinds]):
        item_id = record.get("id", "")
        if record["kind"] == "versioned":
            for each in at_work.values():
                each.steps.clear()
        elif record["kind"] == "claimed":
            at_work[item_id] = Past(record["name"])
        elif item_id in at_work:
            _follow(at_work[item_id], record)
            if at_work[item_id].over:
                past = at_work.pop(item_id)
                if past.done:
                    yield past
    yield from (each for each in at_work.values() if each.done)


def _follow(past: Past, record: Record) -> None:
    match record["kind"]:
        case "stepped":
            past.steps[record["step"]] = record["result"]
        case "retried" if record.get("fresh"):
            past.steps.clear()
        case "done":
            past.result, past.done = record["result"], True
        case "gone" | "removed":
            past.over = True
        case "put_away":
            past.over = past.done
        case _:
            pass


def status_json(past: Iterable[Past], live: Iterable[Entry], planned: tuple[str, ...]) -> Record:
    """Build what `export` prints: item, step, and what became of it.

    *planned* are the configured steps, which an item that has not reached them shows as false.
    """
    told: Record = {}
    for each in past:
        told[each.name] = dict(each.steps) or {"handler": each.result}
    for entry in live:
        told[entry.name] = _progress(entry, planned)
    return told


def _progress(entry: Entry, planned: tuple[str, ...]) -> Record:
    told: Record = dict.fromkeys(planned, False) | dict(entry.steps)
    match item(entry):
        case {"state": "done", "result": result}:
            return dict(entry.steps) or {"handler": result}
        case {"error": {"kind": kind, "text": text}, "step": step}:
            told[step or "handler"] = [short_kind(kind), text]
        case _ if not planned:
            told["handler"] = False
        case _:
            pass
    return told
