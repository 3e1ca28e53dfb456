"""Keep progress in files: each job has a journal of its own, ``FOLDER/ID.jsonl``.

The format is that of `resumed.journal`; what the records mean is in
`resumed.progress.remaining`. Any number of processes of one machine may work on a job: each
answer is given under the file's lock, after what others wrote was read, and everything is on
the disk before the lock is let go. So nobody sees what a power cut could take back.

One sync an answer is what durability costs. Where many answers can wait for each other, a
`group` has one sync at its end, and they may be told only after it.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from resumed import durable, journal
from resumed.model import Fact
from resumed.progress import base, errors, jobfile
from resumed.progress.jobfile import JobFile
from resumed.progress.parts import Parts, decode, encode, file_name
from resumed.progress.remaining import UNTRIED

_SUFFIX = ".jsonl"
_KEPT_OPEN = 16


class EmbeddedProgress(base.Progress):
    """Keep progress in *folder*, or the one that ``RESUMED_JOBS`` names. Threads may share it."""

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        topic_arn: str | None = None,
        delete_when_done: bool = False,
        clock: base.Clock = time.time,
    ) -> None:
        super().__init__(topic=topic_arn, delete_when_done=delete_when_done, clock=clock)
        place = folder or os.environ.get("RESUMED_JOBS")
        if not place:
            raise errors.ProgressTypeError("no folder: give progress, or set RESUMED_JOBS")
        self._folder = Path(place)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._turn = RLock()
        self._files: dict[str, JobFile] = {}
        self._locks: dict[str, int] = {}
        self._grouped = False
        self._process = os.getpid()

    @contextmanager
    def group(self) -> Iterator[None]:
        """Answer what is asked inside, and sync it all at the end; tell of it only then.

        A job that is asked about stays locked for others until then. Whoever asks about
        several jobs in one group asks in the order of their ids, or two may block each other.

        Raises:
            StorageError: The disk refused; none of the answers holds.
        """
        with self._turn:
            if self._grouped:
                yield
                return
            self._grouped, sound = True, False
            try:
                yield
                sound = True
            except errors.ProgressError:
                sound = True  # a refusal changed nothing
                raise
            finally:
                self._end_group(sound=sound)

    def _end_group(self, *, sound: bool) -> None:
        try:
            for job_id in self._locks:
                self._files[job_id].sync()
        except BaseException:
            sound = False
            raise
        finally:
            if not sound:
                self._forget_all()  # and believe what the disk says
            while self._locks:
                os.close(self._locks.popitem()[1])
            self._grouped = False

    def close(self) -> None:
        """Close the files."""
        with self._turn:
            self._forget_all()

    def ids(self, after: str, limit: int) -> Iterable[str]:
        """List ids of jobs, sorted, from the first behind *after*."""
        listed = sorted(unquote(path.stem) for path in self._folder.glob(f"*{_SUFFIX}"))
        return [id_ for id_ in listed if id_ > after][:limit]

    def store(
        self, job_id: str, parts: Parts, metadata: Mapping[str, str], tolerate: int, now: float
    ) -> bool:
        """Write the whole journal under another name, sync it, then let it appear."""
        facts = {"id": job_id, "key": uuid4().hex, "total": parts.total, "tolerate": tolerate}
        told = {"job": facts | {"named": not parts.numbered}, "metadata": _decoded(metadata)}
        folder, fresh = durable.open_folder(self._folder), durable.TEMPORARY_PREFIX + uuid4().hex
        try:
            jobfile.write(folder, fresh, Fact(journal.HEADER, now, told), parts)
            durable.move(folder, fresh, folder, file_name(job_id) + _SUFFIX)
            durable.sync_folder(folder)
        except FileExistsError:
            return False
        finally:
            with suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=folder)
            os.close(folder)
        return True

    def ask(
        self,
        verb: str,
        job_id: str,
        part_id: str | None,
        now: float,
        *arguments: Any,  # noqa: ANN401 - see Raw
    ) -> base.Raw:
        """Answer by the method that has the verb's name, at a time as records have it."""
        now = int(now * 1000) / 1000
        with self._turn:
            if self._grouped:
                return self._answer(verb, job_id, part_id, now, arguments)
            with self.group():
                return self._answer(verb, job_id, part_id, now, arguments)

    def _answer(
        self, verb: str, job_id: str, part_id: str | None, now: float, arguments: base.Raw
    ) -> base.Raw:
        file = self._file(job_id)
        if file is None:
            return ("JobDoesNotExist",)
        if part_id is None:
            return getattr(self, f"_on_{verb}")(file, now, *arguments)
        number = file.find(part_id)
        if number is None:
            return ("PartDoesNotExist",)
        return getattr(self, f"_on_{verb}")(file, number, now, *arguments)

    def _file(self, job_id: str) -> JobFile | None:
        """Hold the lock of a job until the group ends, and know all that is in its file."""
        if job_id in self._locks:
            return self._files[job_id]
        if self._process != os.getpid():  # a fork shares our descriptors and their positions
            self._forget_all()
            self._process = os.getpid()
        path = self._folder / (file_name(job_id) + _SUFFIX)
        lock, file = jobfile.lock(path), self._files.pop(job_id, None)
        try:
            if file and (lock is None or not file.is_at(lock) or not file.catch_up()):
                file.close()
                file = None
            if lock is None:
                return None
            self._files[job_id] = file = file or JobFile(path)
        finally:
            if lock is not None and job_id not in self._files:
                os.close(lock)
        self._locks[job_id] = lock
        for idle in [each for each in self._files if each not in self._locks][:-_KEPT_OPEN]:
            self._files.pop(idle).close()
        return file

    def _forget_all(self) -> None:
        while self._files:
            self._files.popitem()[1].close()

    def _on_job(self, file: JobFile, now: float) -> base.Raw:
        kept = file.remaining
        fields = {**kept.job, "created": kept.created_at, "changed": kept.changed_at}
        fields |= {"until": kept.until, "ended": kept.ended_at}
        fields["fault"] = encode(kept.fault, "reason") if kept.fault else None
        metadata = {name: encode(value, "metadata") for name, value in kept.metadata.items()}
        counts = (kept.done, len(kept.lost), kept.running(now))
        return ("Job", fields, *counts, metadata, kept.ready)

    def _on_list(self, file: JobFile, now: float, which: str, after: int, limit: int) -> base.Raw:
        numbers = islice(file.remaining.numbers(which, after, now), limit)
        return ("Rows", *(file.row(number) for number in numbers))

    def _on_part(self, file: JobFile, number: int, _now: float) -> base.Raw:
        return ("Row", file.row(number))

    def _on_describe(self, file: JobFile, now: float, metadata: Mapping[str, str]) -> base.Raw:
        file.record("described", now, {"metadata": _decoded(metadata)})
        return ("Described",)

    def _on_begin(self, file: JobFile, number: int, now: float, seconds: float) -> base.Raw:
        kept, until = file.remaining, now + seconds
        attempts, leased, error = kept.tries.get(number, UNTRIED)
        if kept.fault:
            return ("JobFailed", encode(kept.fault, "reason"))
        if kept.place_of_result(number):
            return ("AlreadyDone",)
        if number in kept.lost:
            return ("PartGivenUp",)
        if leased and leased > now:
            return ("PartLeased", leased)
        if leased:
            error = decode(base.LAPSED.replace("#", str(attempts)))
        told = {"part": number, "attempt": attempts + 1, "until": until, "error": error}
        file.record("started", now, told)
        return ("Lease", attempts + 1, until, encode(file.payload(number), "part"))

    def _on_extend(
        self, file: JobFile, number: int, now: float, seconds: float, attempt: int
    ) -> base.Raw:
        if not file.remaining.holds(number, attempt):
            return ("LeaseLost",)
        if file.remaining.fault:
            return ("JobFailed", encode(file.remaining.fault, "reason"))
        file.record("extended", now, {"part": number, "until": now + seconds})
        return ("Lease", attempt, now + seconds, encode(file.payload(number), "part"))

    def _on_complete(
        self, file: JobFile, number: int, now: float, seconds: float, result: str
    ) -> base.Raw:
        kept = file.remaining
        if kept.place_of_result(number):
            return self._on_claim(file, now, seconds, "AlreadyDone")
        attempts = kept.tries.get(number, UNTRIED).attempts
        told = {"part": number, "attempts": attempts, "result": decode(result)}
        file.record("done", now, told)
        return self._on_claim(file, now, seconds)

    def _on_fail(self, file: JobFile, number: int, now: float, *told: base.Raw) -> base.Raw:
        return self._failed(file, number, now, "waiting", *told)

    def _on_give_up(self, file: JobFile, number: int, now: float, *told: base.Raw) -> base.Raw:
        return self._failed(file, number, now, "failed", *told)

    def _failed(self, file: JobFile, number: int, now: float, kind: str, *told: Any) -> base.Raw:  # noqa: ANN401 - see Raw
        seconds, attempt, fault = told
        if not file.remaining.holds(number, attempt):
            return ("LeaseLost",)
        file.record(kind, now, {"part": number, "attempt": attempt, "error": decode(fault)})
        return self._on_claim(file, now, seconds)

    def _on_claim(
        self, file: JobFile, now: float, seconds: float, otherwise: str = "StillOpen"
    ) -> base.Raw:
        kept = file.remaining
        if not kept.ready or kept.sent(now):
            return (otherwise,)
        file.record("reduce_claimed", now, {"until": now + seconds})
        return ("Reduce", kept.job["key"], kept.claims, now + seconds)

    def _on_confirm(self, file: JobFile, now: float, key: str) -> base.Raw:
        kept = file.remaining
        valid = key == kept.job["key"] and kept.claims and kept.ready
        if not valid or kept.ended_at is not None:
            return ("Late",)
        file.record("reduce_done", now, {})
        return ("Confirmed",)

    def _on_release(self, file: JobFile, now: float, key: str, attempt: int) -> base.Raw:
        if (key, attempt) == (file.remaining.job["key"], file.remaining.claims):
            file.record("reduce_released", now, {})
        return ("Released",)

    def _on_fail_job(self, file: JobFile, now: float, fault: str) -> base.Raw:
        if file.remaining.sent(now):
            return ("JobEnded",)
        if not file.remaining.fault:
            file.record("job_failed", now, {"fault": decode(fault)})
        return ("Failed",)

    def _on_retry(self, file: JobFile, now: float) -> base.Raw:
        if file.remaining.sent(now):
            return ("JobEnded",)
        lost = set(file.remaining.lost)
        file.record("retried", now, {})
        return ("Retried", len(lost))

    def _on_delete(self, file: JobFile, _now: float) -> base.Raw:
        folder = durable.open_folder(self._folder)
        try:
            os.unlink(file.path.name, dir_fd=folder)
            durable.sync_folder(folder)
        finally:
            os.close(folder)
        return ("Deleted",)


def _decoded(metadata: Mapping[str, str]) -> dict[str, Any]:
    return {name: decode(text) for name, text in metadata.items()}
