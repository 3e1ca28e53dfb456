"""Lay a job out in one DynamoDB table, whose only key is the text ``id``.

A thousand parts share an item, so that no item grows with its job and 1,000,000 parts fit:

    resumed#jobs#0…63   ids: set of job ids, by their hash
    resumed#job#ID      key, total, named, tolerate, created, metadata; *open*: set of the
                        shards with parts to do, *broken*: of others, with failed parts;
                        turn, busy, fault, until, claims, ended
    KEY#shard#N         todo and lost: sets of places in the shard; tries: map of place to
                        [attempts, lease, fault], whose words are cut where many are long;
                        changed
    KEY#load#N          texts: payloads of 50 parts; names: their ids, where named
    KEY#ids#N           numbers: map of id to number, by the hash of the id, where named
    KEY#part#NUMBER     result and attempts of a part that is done; text: a large payload
    KEY#text#NUMBER     text: a huge payload, beside which a result has no room; a job that
                        has one has *huge*

KEY is drawn when a job is created. A job that is ``creating`` does not exist yet for
anyone; whoever creates it next takes its place. Instants are whole microseconds.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias
from uuid import uuid4
from zlib import crc32

from resumed.progress import errors
from resumed.progress.parts import Parts, number_of
from resumed.progress.table import Item, Table

SHARD = 1000
Row: TypeAlias = Any
_JOBS = 64
_LOAD = 50
_LARGE_BYTES = 4096
_HUGE_BYTES = 128 << 10
_TRIES_BYTES = 100_000  # from where on words are cut; many may fail at one time
_TRY_BYTES = 150
_MOST_BYTES = 3000
_EXISTS = "attribute_exists(#key) AND attribute_not_exists(#creating)"


class Shards:
    """Find and change the items of jobs."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def ids(self) -> Iterator[str]:
        """Read the whole index, which is split by hash to leave room for many jobs."""
        index = self.table.read_all(f"resumed#jobs#{part}" for part in range(_JOBS))
        return (id_ for item in index.values() for id_ in item.get("ids", ()))

    def store(
        self, job_id: str, parts: Parts, metadata: Mapping[str, str], tolerate: int, now: float
    ) -> bool:
        """Store the job as creating, which is for nobody else, and publish it at the end."""
        key = uuid4().hex
        top: Item = {
            "id": _name(job_id),
            "key": key,
            "total": parts.total,
            "created": microseconds(now),
        }
        top |= {"named": int(not parts.numbered), "tolerate": tolerate, "creating": 1}
        if parts.total:
            top["open"] = set(range(-(-parts.total // SHARD)))
        if any(len(entry.text) > _HUGE_BYTES for entry in parts):
            top["huge"] = 1
        top["metadata"], top["turn"] = dict(metadata), 0
        if not self._reserve(job_id, top):
            return False
        self.table.change(_index(job_id), "ADD #ids :ids", "", ids={job_id})
        self.table.write_all(_items(key, parts))
        return bool(self.table.change(_name(job_id), "REMOVE #creating", "#key = :key", key=key))

    def _reserve(self, job_id: str, top: Item) -> bool:
        """Take the id, also from a creation that was left unfinished."""
        if self.table.put(top, "attribute_not_exists(id)"):
            return True
        old = self.table.read(_name(job_id))
        if old is None or "creating" not in old:
            return False
        unfinished = "#key = :key AND attribute_exists(#creating)"
        if not self.table.put(top, unfinished, key=old["key"]):
            return False
        self.table.write_all(forget=_keys(old))
        return True

    def delete(self, job_id: str) -> None:
        """Forget a job; from the moment that it is hidden, its id may be taken again."""
        top = self.table.read(_name(job_id))
        if top is None:
            raise errors.JobDoesNotExist(job_id)
        key = top["key"]
        # The index first: later, the entry may be that of the next job with this id.
        self.table.change(_index(job_id), "DELETE #ids :ids", "", ids={job_id})
        self.table.change(_name(job_id), "SET #creating = :one", "#key = :key", one=1, key=key)
        self.table.write_all(forget=_keys(top))
        self.table.remove(_name(job_id), "#key = :key", key=key)

    def top(self, job_id: str) -> Item:
        """Read a job's own item; raises `JobDoesNotExist`."""
        top = self.table.read(_name(job_id))
        if top is None or "creating" in top:
            raise errors.JobDoesNotExist(job_id)
        return top

    def change(self, job_id: str, expression: str, condition: str, **values: Any) -> Item | None:  # noqa: ANN401 - each :word
        """Change a job's item if it exists and *condition* holds."""
        return self.table.change(_name(job_id), expression, f"{_EXISTS} AND {condition}", **values)

    def find(self, job_id: str, part_id: str) -> tuple[Item, Item, int]:
        """Read the job, the shard of a part, and the part's number."""
        top = self.top(job_id)
        number = number_of(part_id, top["total"])
        if top["named"]:
            slot = crc32(part_id.encode()) % (top["total"] // SHARD + 1)
            named = self.table.read(f"{top['key']}#ids#{slot}") or {"numbers": {}}
            number = named["numbers"].get(part_id)
        if number is None:
            raise errors.PartDoesNotExist(job_id, part_id)
        return top, self.shards(top, {number // SHARD})[number // SHARD], number

    def shards(self, top: Item, places: Iterable[int]) -> dict[int, Item]:
        """Read shards by their place in the job; raises `JobDoesNotExist`."""
        keys = {place: f"{top['key']}#shard#{place}" for place in sorted(places)}
        found = self.table.read_all(keys.values())
        if len(found) < len(keys):
            raise errors.JobDoesNotExist(top["id"].removeprefix(_name("")))  # deleted meanwhile
        return {place: found[key] for place, key in keys.items()}

    def rows(self, top: Item, shard: Item, numbers: list[int]) -> list[Row]:
        """Make the rows of parts of one shard."""
        key = top["key"]
        loads = self.table.read_all({f"{key}#load#{n // _LOAD}" for n in numbers})
        parts = self.table.read_all(f"{key}#part#{n}" for n in numbers)
        if "huge" in top:
            for text in self.table.read_all(f"{key}#text#{n}" for n in numbers).values():
                parts.setdefault(text["id"].replace("#text#", "#part#"), {})["text"] = text["text"]
        return [
            _row(n, shard, loads[f"{key}#load#{n // _LOAD}"], parts.get(f"{key}#part#{n}", {}))
            for n in numbers
        ]

    def swap(
        self, shard: Item, place: int, moves: str, entry: list[Any], now: int = 0
    ) -> Item | None:
        """Change the entry of a part that is to do, if it still is what *shard* says."""
        old = shard["tries"].get(str(place))
        attempts, until, fault = entry
        same = "#tries.#place = :old" if old else "attribute_not_exists(#tries.#place)"
        return self.table.change(
            shard["id"],
            f"SET #tries.#place = :entry{moves}",
            f"contains(#todo, :place) AND {same}",
            {"place": str(place)},
            entry=json.dumps([attempts, until, fitting(shard, place, fault)]),
            old=old or "",
            place=place,
            places={place},
            now=now,
        )


def microseconds(at: float) -> int:
    """Count as the table does."""
    return round(at * 1e6)


def _name(job_id: str) -> str:
    return f"resumed#job#{job_id}"


def _index(job_id: str) -> str:
    return f"resumed#jobs#{crc32(job_id.encode()) % _JOBS}"


def try_of(shard: Item, place: int) -> list[Any]:
    """Return attempts, the lease's end and the fault of the part at a place of a shard."""
    entry: list[Any] = json.loads(shard["tries"].get(str(place), "[0,null,null]"))
    return entry


def fitting(shard: Item, place: int, fault: str | None) -> str | None:
    """Cut the words of a fault, where the shard would have no room for those of all its parts."""
    others = (len(text) for at, text in shard["tries"].items() if at != str(place))
    most_bytes = min(max(_TRIES_BYTES - sum(others), _TRY_BYTES), _MOST_BYTES)
    for most in (2000, 1000, 300, 100, 30, 10, 0):
        if fault is None or len(json.dumps(fault)) <= most_bytes:
            break
        fault = json.dumps([each[:most] for each in json.loads(fault)])
    return fault


def is_in(shard: Item, number: int, which: str, now: float) -> bool:
    """Tell whether a part is done, lost, or to do and free at *now*."""
    place = number % SHARD
    if which == "done":
        return place not in shard.get("todo", ()) and place not in shard.get("lost", ())
    waits = which == "lost" or (try_of(shard, place)[1] or 0) <= now
    return place in shard.get(which, ()) and waits


def _row(number: int, shard: Item, load: Item, part: Item) -> Row:
    attempts, until, fault = try_of(shard, number % SHARD)
    name = load["names"][number % _LOAD] if "names" in load else None
    text = load["texts"][number % _LOAD] or part["text"]
    done = is_in(shard, number, "done", 0)
    attempts = part["attempts"] if done else attempts
    lost = is_in(shard, number, "lost", 0)
    return (number, name, text, attempts, fault, lost, until, part["result"] if done else None)


def _items(key: str, parts: Parts) -> Iterator[Item]:
    """Make all items of a job but its own."""
    slots: dict[int, dict[str, int]] = {}
    for chunk in parts.chunks(_LOAD):
        large = [entry for entry in chunk if len(entry.text) > _LARGE_BYTES]
        for entry in large:
            kind = "text" if len(entry.text) > _HUGE_BYTES else "part"
            yield {"id": f"{key}#{kind}#{entry.number}", "text": entry.text}
        texts = ["" if entry in large else entry.text for entry in chunk]
        load: Item = {"id": f"{key}#load#{chunk[0].number // _LOAD}", "texts": texts}
        if not parts.numbered:
            load["names"] = [entry.id for entry in chunk]
            for entry in chunk:
                slot = crc32(entry.id.encode()) % (parts.total // SHARD + 1)
                slots.setdefault(slot, {})[entry.id] = entry.number
        yield load
    for first in range(0, parts.total, SHARD):
        todo = set(range(min(SHARD, parts.total - first)))
        yield {"id": f"{key}#shard#{first // SHARD}", "todo": todo, "tries": {}}
    for slot, numbers in slots.items():
        yield {"id": f"{key}#ids#{slot}", "numbers": numbers}


def _keys(top: Item) -> Iterator[str]:
    """Name all items that a job may have but its own."""
    key, total = top["key"], top["total"]
    yield from (f"{key}#shard#{place}" for place in range(-(-total // SHARD)))
    yield from (f"{key}#load#{place}" for place in range(-(-total // _LOAD)))
    yield from (f"{key}#ids#{slot}" for slot in range(total // SHARD + 1) if top["named"])
    for kind in ("part", "text") if "huge" in top else ("part",):
        yield from (f"{key}#{kind}#{number}" for number in range(total))
