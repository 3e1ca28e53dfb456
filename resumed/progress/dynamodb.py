"""Keep progress in one DynamoDB table, which `resumed.progress.shards` describes.

A part ends by leaving its shard's set, which one caller can see happen. The last to leave
closes the shard in the job's item, and the last to close claims the reduce; what a crash
keeps from closing is closed by whoever next asks. *turn* changes when a retry opens shards
again, and nothing is closed or claimed across such a change: all is read again.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

import boto3

from resumed.progress import base, errors
from resumed.progress.parts import Parts
from resumed.progress.shards import SHARD, Shards, is_in, microseconds, try_of
from resumed.progress.table import Item, Table

_BUSY_SECONDS = 60
_UNSENT = "attribute_not_exists(#ended) AND (attribute_not_exists(#until) OR #until <= :now)"
_UNREADY = ("ended", "open", "fault")
_SAME = "#key = :key AND #turn = :turn"


class DynamoProgress(base.Progress):
    """Keep progress in DynamoDB; *keywords* go to `boto3.client`. Threads may share it.

    *table_arn* may be a name, and is ``ProgressTable`` of the environment when it is missing.
    """

    def __init__(
        self,
        table_arn: str | None = None,
        topic_arn: str | None = None,
        *,
        delete_when_done: bool = False,
        clock: base.Clock = time.time,
        **keywords: Any,  # noqa: ANN401 - whatever boto3.client takes
    ) -> None:
        super().__init__(topic=topic_arn, delete_when_done=delete_when_done, clock=clock)
        place = table_arn or os.environ.get("ProgressTable")  # noqa: SIM112 - as watchbot has it
        if not place:
            raise errors.ProgressTypeError("no table: give table_arn or set ProgressTable")
        if place.startswith("arn:"):
            keywords.setdefault("region_name", place.split(":")[3])
        self._client = boto3.client("dynamodb", **keywords)
        self._kept = Shards(Table(self._client, place.rpartition(":table/")[2]))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def create_table(self) -> None:
        """Create the table, billed by request, and wait until it is there."""
        self._kept.table.create()

    def ask(
        self,
        verb: str,
        job_id: str,
        part_id: str | None,
        now: float,
        *arguments: Any,  # noqa: ANN401 - see Raw
    ) -> base.Raw:
        """Answer by the method that has the verb's name."""
        subject = (job_id,) if part_id is None else (job_id, part_id)
        return getattr(self, f"_on_{verb}")(*subject, now, *arguments)

    def ids(self, after: str, limit: int) -> Iterable[str]:
        """List ids of jobs, sorted, from the first behind *after*."""
        return [id_ for id_ in sorted(self._kept.ids()) if id_ > after][:limit]

    def store(
        self, job_id: str, parts: Parts, metadata: Mapping[str, str], tolerate: int, now: float
    ) -> bool:
        """Store a new job whole."""
        return self._kept.store(job_id, parts, metadata, tolerate, now)

    def _on_delete(self, job_id: str, _now: float) -> base.Raw:
        self._kept.delete(job_id)
        return ("Deleted",)

    def _on_job(self, job_id: str, now: float) -> base.Raw:
        top = self._kept.top(job_id)
        shards = self._kept.shards(top, top.get("open", set()) | top.get("broken", set()))
        todo = sum(len(shard.get("todo", ())) for shard in shards.values())
        lost = sum(len(shard.get("lost", ())) for shard in shards.values())
        leases = (
            json.loads(text)[1] for shard in shards.values() for text in shard["tries"].values()
        )
        running = sum(1 for until in leases if until and until > now)
        instants = ("created", "until", "ended")
        fields: Item = {name: top[name] / 1e6 for name in instants if name in top}
        changed = [shard["changed"] for shard in shards.values() if "changed" in shard]
        fields["changed"] = max([top["created"], top.get("changed", 0), *changed]) / 1e6
        fields |= {name: top[name] for name in ("key", "total", "tolerate", "fault") if name in top}
        ready = not todo and lost <= top["tolerate"]
        return ("Job", fields, top["total"] - todo - lost, lost, running, top["metadata"], ready)

    def _on_describe(self, job_id: str, _now: float, metadata: Mapping[str, str]) -> base.Raw:
        names = {f"n{at}": name for at, name in enumerate(metadata)}
        sets = ", ".join(f"#metadata.#{alias} = :{alias}" for alias in names)
        values = {alias: metadata[name] for alias, name in names.items()}
        top = self._kept.top(job_id)
        if sets and not self._kept.table.change(
            top["id"], f"SET {sets}", "#key = :key", names, key=top["key"], **values
        ):
            raise errors.JobDoesNotExist(job_id)
        return ("Described",)

    def _on_fail_job(self, job_id: str, now: float, fault: str) -> base.Raw:
        sets = "SET #fault = if_not_exists(#fault, :fault)"
        if not self._kept.change(job_id, sets, _UNSENT, fault=fault, now=microseconds(now)):
            self._kept.top(job_id)
            raise errors.JobEnded(job_id)
        return ("Failed",)

    def _on_retry(self, job_id: str, now: float) -> base.Raw:
        soon, words = microseconds(now + _BUSY_SECONDS), {"one": 1, "now": microseconds(now)}
        sets = "SET #busy = :soon ADD #turn :one"
        top = self._kept.change(job_id, sets, _UNSENT, soon=soon, **words)
        if top is None:
            self._kept.top(job_id)
            raise errors.JobEnded(job_id)
        places = top.get("open", set()) | top.get("broken", set())
        revived = {place: self._revive(top, place) for place in places}
        self._reopen(job_id, {place for place, count in revived.items() if count})
        return ("Retried", sum(revived.values()))

    def _revive(self, top: Item, place: int) -> int:
        """Move the failed parts of a shard back, all that there are at one moment."""
        moves, same = "ADD #todo :lost DELETE #lost :lost", "#lost = :lost"
        while lost := self._kept.shards(top, {place})[place].get("lost"):
            if self._kept.table.change(f"{top['key']}#shard#{place}", moves, same, lost=lost):
                return len(lost)
        return 0

    def _reopen(self, job_id: str, shards: set[int]) -> None:
        sets = "REMOVE #fault, #busy ADD #turn :one"
        if shards:
            sets += ", #open :shards DELETE #broken :shards"
        self._kept.change(job_id, sets, "attribute_not_exists(#ended)", one=1, shards=shards)

    def _on_list(self, job_id: str, now: float, which: str, after: int, limit: int) -> base.Raw:
        top = self._kept.top(job_id)
        rows: list[base.Raw] = []
        for place in range((after + 1) // SHARD, -(-top["total"] // SHARD)):
            shard = self._kept.shards(top, {place})[place]
            first, last = place * SHARD, min((place + 1) * SHARD, top["total"])
            wanted = [n for n in range(max(first, after + 1), last) if is_in(shard, n, which, now)]
            rows += self._kept.rows(top, shard, wanted[: limit - len(rows)])
            if len(rows) >= limit:
                break
        return ("Rows", *rows)

    def _on_part(self, job_id: str, part_id: str, _now: float) -> base.Raw:
        top, shard, number = self._kept.find(job_id, part_id)
        return ("Row", self._kept.rows(top, shard, [number])[0])

    def _on_begin(self, job_id: str, part_id: str, now: float, seconds: float) -> base.Raw:
        top, shard, number = self._kept.find(job_id, part_id)
        place, until = number % SHARD, now + seconds
        attempts, leased, fault = try_of(shard, place)
        if "fault" in top:
            return ("JobFailed", top["fault"])
        if place in shard.get("lost", ()):
            return ("PartGivenUp",)
        if place not in shard.get("todo", ()):
            return ("AlreadyDone",)
        if leased and leased > now:
            return ("PartLeased", leased)
        if leased:
            fault = base.LAPSED.replace("#", str(attempts))
        if not self._kept.swap(shard, place, "", [attempts + 1, until, fault]):
            return self._on_begin(job_id, part_id, now, seconds)  # another was faster: see again
        return ("Lease", attempts + 1, until, self._kept.rows(top, shard, [number])[0][2])

    def _held(self, job_id: str, part_id: str, attempt: int) -> tuple[Item, Item, int]:
        """Find a part that *attempt* still has."""
        top, shard, number = self._kept.find(job_id, part_id)
        attempts, leased, _ = try_of(shard, number % SHARD)
        if attempts != attempt or not leased or number % SHARD not in shard.get("todo", ()):
            raise errors.LeaseLost(job_id, part_id)
        return top, shard, number

    def _on_extend(
        self, job_id: str, part_id: str, now: float, seconds: float, attempt: int
    ) -> base.Raw:
        top, shard, number = self._held(job_id, part_id, attempt)
        if "fault" in top:
            return ("JobFailed", top["fault"])
        fault, until = try_of(shard, number % SHARD)[2], now + seconds
        if not self._kept.swap(shard, number % SHARD, "", [attempt, until, fault]):
            return self._on_extend(job_id, part_id, now, seconds, attempt)
        return ("Lease", attempt, until, self._kept.rows(top, shard, [number])[0][2])

    def _on_fail(self, job_id: str, part_id: str, now: float, *told: base.Raw) -> base.Raw:
        _, attempt, fault = told
        _, shard, number = self._held(job_id, part_id, attempt)
        if not self._kept.swap(shard, number % SHARD, "", [attempt, None, fault]):
            return self._on_fail(job_id, part_id, now, *told)
        return ("StillOpen",)

    def _on_give_up(self, job_id: str, part_id: str, now: float, *told: base.Raw) -> base.Raw:
        seconds, attempt, fault = told
        _, shard, number = self._held(job_id, part_id, attempt)
        place, at = number % SHARD, microseconds(now)
        moves = ", #changed = :now DELETE #todo :places ADD #lost :places"
        left = self._kept.swap(shard, place, moves, [attempt, None, fault], at)
        if not left:
            return self._on_give_up(job_id, part_id, now, *told)
        return self._left(job_id, number // SHARD, left, now, seconds)

    def _on_complete(
        self, job_id: str, part_id: str, now: float, seconds: float, result: str
    ) -> base.Raw:
        top, shard, number = self._kept.find(job_id, part_id)
        place = number % SHARD
        if place not in shard.get("todo", set()) | shard.get("lost", set()):
            done = "AlreadyDone"
            return (done,) if "todo" in shard else self._on_claim(job_id, now, seconds, done)
        # The result first: what has left the set is done, and has one.
        self._kept.table.change(
            f"{top['key']}#part#{number}",
            "SET #result = if_not_exists(#result, :result), #attempts = :attempts",
            "",
            result=f"[{result},{now!r}]",
            attempts=try_of(shard, place)[0],
        )
        left = self._kept.table.change(
            shard["id"],
            "SET #changed = :now REMOVE #tries.#place DELETE #todo :places, #lost :places",
            "contains(#todo, :place) OR contains(#lost, :place)",
            {"place": str(place)},
            now=microseconds(now),
            place=place,
            places={place},
        )
        if not left:
            return self._on_claim(job_id, now, seconds, "AlreadyDone")
        return self._left(job_id, number // SHARD, left, now, seconds)

    def _left(self, job_id: str, place: int, shard: Item, now: float, seconds: float) -> base.Raw:
        """Look further when the part that left *shard* was the last one there."""
        if shard.get("todo"):
            return ("StillOpen",)
        return self._on_claim(job_id, now, seconds, "StillOpen", place)

    def _on_claim(
        self, job_id: str, now: float, seconds: float, otherwise: str = "StillOpen", near: int = 0
    ) -> base.Raw:
        """Close the shards that are through, *near* one first; claim when that is all."""
        while True:
            top, at = self._kept.top(job_id), microseconds(now)
            waits = max(top.get("until", 0), top.get("busy", 0)) > at
            if waits or "ended" in top or "fault" in top:
                return (otherwise,)
            if opened := top.get("open"):
                if not self._close(job_id, top, near if near in opened else min(opened)):
                    return (otherwise,)
                continue
            shards = self._kept.shards(top, top.get("broken", ()))
            if again := {place for place, shard in shards.items() if "todo" in shard}:
                self._reopen(job_id, again)  # a retry died half-way
                return (otherwise,)
            if sum(len(shard.get("lost", ())) for shard in shards.values()) > top["tolerate"]:
                return (otherwise,)
            until = microseconds(now + seconds)
            condition = f"{_SAME} AND {_UNSENT} AND attribute_not_exists(#fault)"
            words = {"key": top["key"], "turn": top["turn"], "now": at, "one": 1}
            sets = "SET #until = :until ADD #claims :one"
            if claimed := self._kept.change(job_id, sets, condition, until=until, **words):
                return ("Reduce", top["key"], claimed["claims"], until / 1e6)

    def _close(self, job_id: str, top: Item, place: int) -> bool:
        """Take a shard without parts to do from the open ones; False if it has some."""
        shard = self._kept.shards(top, {place})[place]
        if "todo" in shard:
            return False
        sets = "SET #changed = :changed DELETE #open :places"
        sets += " ADD #broken :places" if "lost" in shard else ", #broken :places"
        words = {"key": top["key"], "turn": top["turn"], "places": {place}}
        self._kept.change(job_id, sets, _SAME, changed=shard.get("changed", 0), **words)
        return True

    def _on_confirm(self, job_id: str, now: float, key: str) -> base.Raw:
        self._kept.top(job_id)
        absent = " AND ".join(f"attribute_not_exists(#{name})" for name in _UNREADY)
        due, at = f"#key = :key AND attribute_exists(#claims) AND {absent}", microseconds(now)
        done = self._kept.change(job_id, "SET #ended = :now", due, key=key, now=at)
        return ("Confirmed" if done else "Late",)

    def _on_release(self, job_id: str, _now: float, key: str, attempt: int) -> base.Raw:
        self._kept.top(job_id)
        condition = "#key = :key AND #claims = :attempt"
        self._kept.change(job_id, "REMOVE #until", condition, key=key, attempt=attempt)
        return ("Released",)
