"""Hand the parts of a job, and its reduce, to those who do the work.

A hand-off is called with a subject, ``map`` or ``reduce``, and messages, which are JSON
objects; it returns when all of them are safe with the receiver, and raises otherwise. Each
may arrive more than once: a message has a name that tells it from others and is the same
for every delivery.
"""

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

from resumed import durable
from resumed.model import JSON, Record
from resumed.progress import base
from resumed.progress.errors import JobExists, ProgressError, ProgressTypeError
from resumed.progress.parts import Parts, decode, encode, file_name
from resumed.progress.states import Job, Reduce
from resumed.records import about

HandOff: TypeAlias = Callable[[str, Iterable[Record]], None]
OnReduce: TypeAlias = Callable[..., object]
_GROUP = 100
_AT_ONCE = 10
_NAME_LENGTH = 200
_AT_ONCE_BYTES = 250_000


class HandOffError(ProgressError):
    """Report that messages were not taken; whoever sends them again loses nothing."""


class Folder:
    """Place files into an inbox of the daemon; each appears whole, or not at all.

    `submit` places a whole job as one file, of which the daemon keeps the progress. Called as
    a hand-off, it places each message as a file of its own, named after job, part and
    subject. One that lies there already is the same message, still waiting, and is left.
    """

    def __init__(self, inbox: str | os.PathLike[str]) -> None:
        self._inbox = Path(inbox)

    def submit(self, job_id: str, parts: Parts, metadata: Mapping[str, JSON] | None) -> None:
        """Place the file ``JOB.jsonl``; it is on the disk on return.

        Its records are the parts, with their ``partid`` put in: where the configuration says
        ``[job] id = "partid"``, two that say the same are two.

        Raises:
            JobExists: A file of that name lies there still.
            ProgressTypeError: The metadata is not JSON.
        """
        head = encode(about(dict(metadata or {})), "metadata")
        lines = (
            json.dumps({**decode(each.text), "partid": _part_id(each.number, each.id)})
            for each in parts
        )
        folder = durable.open_folder(self._inbox)
        try:
            name = f"{file_name(job_id)}.jsonl"
            durable.drop(folder, name, (f"{line}\n".encode() for line in chain([head], lines)))
        except FileExistsError:
            raise JobExists(job_id) from None
        finally:
            os.close(folder)

    def __call__(self, subject: str, messages: Iterable[Record]) -> None:
        """Place the files; all are on the disk on return."""
        folder = durable.open_folder(self._inbox)
        try:
            for message in messages:
                text = json.dumps(message, separators=(",", ":"))
                with suppress(FileExistsError):
                    durable.place(folder, _name(subject, message), text.encode() + b"\n")
        finally:
            os.close(folder)


class Sns:
    """Publish each message to a topic, with ``Subject`` map or reduce.

    *topic_arn* is taken from the environment's ``WorkTopic`` when it is None.
    """

    def __init__(self, topic_arn: str | None = None, *, client: Any = None) -> None:  # noqa: ANN401 - boto3 has no types
        topic = topic_arn or os.environ.get("WorkTopic")  # noqa: SIM112 - as watchbot has it
        if not topic:
            raise ProgressTypeError("no topic: give topic_arn, set WorkTopic, or pass send")
        self.topic = topic
        self._client = client

    def __call__(self, subject: str, messages: Iterable[Record]) -> None:
        """Publish in groups of up to ten; raises `HandOffError` for those that were refused."""
        if self._client is None:
            import boto3  # noqa: PLC0415 - only who publishes needs it

            self._client = boto3.client("sns", region_name=self.topic.split(":")[3])
        for group in _groups(messages):
            entries = [
                {"Id": str(place), "Message": text, "Subject": subject}
                for place, text in enumerate(group)
            ]
            answer = self._client.publish_batch(
                TopicArn=self.topic, PublishBatchRequestEntries=entries
            )
            if refused := answer.get("Failed"):
                raise HandOffError(
                    f"{self.topic}: {len(refused)} of {len(group)} messages were refused"
                    f" ({refused[0].get('Message') or refused[0].get('Code')}); send them again"
                )

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()


def deliver(
    progress: base.Progress, reduce: Reduce, send: HandOff | None, on_reduce: OnReduce | None
) -> None:
    """Send a claimed reduce, then record that it was: in this order none is lost."""
    metadata = dict(progress.job(reduce.job_id).metadata)
    told: Record = {"jobid": reduce.job_id, "metadata": metadata, "key": reduce.key}
    try:
        if on_reduce is not None:
            on_reduce(told, progress.topic, subject="reduce")
        elif send is not None:
            send("reduce", [told])
    except BaseException:
        progress.release_reduce(reduce)
        raise
    if progress.confirm_reduce(reduce) and progress.delete_when_done:
        progress.delete(reduce.job_id)


def send_all(send: HandOff, messages: Iterable[Record], workers: int) -> None:
    """Send in groups, *workers* at a time, and never hold more of them than that."""
    messages = iter(messages)
    groups: Iterator[list[Record]] = iter(lambda: list(islice(messages, _GROUP)), [])
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        while now := list(islice(groups, max(workers, 1))):
            list(pool.map(functools.partial(send, "map"), now))


def message(job: Job, number: int, part_id: str, payload: JSON) -> Record:
    """Write what a worker is told of a part: the part itself, and where it belongs."""
    partid = _part_id(number, part_id)
    own = payload if isinstance(payload, dict) else {}
    return {**own, "partid": partid, "jobid": job.id, "metadata": dict(job.metadata) or None}


def _part_id(number: int, part_id: str) -> int | str:
    return number if part_id == str(number) else part_id


def _groups(messages: Iterable[Record]) -> Iterator[list[str]]:
    """Cut into groups that one request may carry, by number and by bytes."""
    group: list[str] = []
    size = 0
    for message in messages:
        text = json.dumps(message, separators=(",", ":"))
        if group and (len(group) == _AT_ONCE or size + len(text) > _AT_ONCE_BYTES):
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    if group:
        yield group


def _name(subject: str, message: Record) -> str:
    part = f"#{file_name(str(message['partid']))}" if subject == "map" else ""
    name = f"{file_name(str(message['jobid']))}{part}"
    if len(name) > _NAME_LENGTH:
        name = sha256(name.encode()).hexdigest()
    return f"{name}.{subject}.json"
