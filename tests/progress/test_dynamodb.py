"""Look at what is peculiar to DynamoDB: shards, creations that die, and retries that die."""

import contextlib
import json
import os
import sys
from uuid import uuid4

import pytest

if os.environ.get("CI") != "true":
    pytest.importorskip("boto3", reason="pip install boto3")

from resumed.model import Fault
from resumed.progress import shards
from resumed.progress.dynamodb import DynamoProgress
from resumed.progress.errors import JobDoesNotExist, JobExists, ProgressTypeError
from resumed.progress.parts import Parts
from resumed.progress.states import LastPart, Open, StillOpen

AWS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
REASON = Fault("builtins.ValueError", "no")


@pytest.fixture
def progress(aws_url, clock):
    arn = f"arn:aws:dynamodb:eu-west-1:123456789012:table/t-{uuid4().hex}"
    with contextlib.closing(
        DynamoProgress(arn, endpoint_url=aws_url, clock=clock, **AWS)
    ) as opened:
        opened.create_table()
        yield opened


@pytest.fixture
def small(monkeypatch):
    """Let three parts make a shard, so that a small job has many."""
    for module in (shards, sys.modules["resumed.progress.dynamodb"]):
        monkeypatch.setattr(module, "SHARD", 3)
    monkeypatch.setattr(shards, "_LOAD", 2)


def create(progress, job_id, total, **keywords):
    with Parts({"n": n} for n in range(total)) as parts:
        return progress.create(job_id, parts, **keywords)


def items(progress):
    answer = progress._client.scan(TableName=progress._kept.table._name)
    return {item["id"]["S"]: item for item in answer["Items"]}


def test_the_table_is_named_by_an_argument_or_the_environment(monkeypatch):
    monkeypatch.delenv("ProgressTable", raising=False)
    with pytest.raises(ProgressTypeError, match="ProgressTable"):
        DynamoProgress()

    monkeypatch.setenv("ProgressTable", "arn:aws:dynamodb:eu-west-1:1:table/mine")

    with contextlib.closing(DynamoProgress(topic_arn="arn:t", **AWS)) as progress:
        assert progress._kept.table._name == "mine"
        assert progress._client.meta.region_name == "eu-west-1"
        assert progress.topic == "arn:t"


@pytest.mark.usefixtures("small")
def test_parts_of_many_shards_end_in_one_last_part(progress):
    create(progress, "job", 10)

    order = [9, 0, 5, 3, 8, 1, 7, 2, 4]
    answers = [progress.complete("job", str(number), number) for number in order]
    assert answers == [StillOpen()] * 9
    assert progress.job("job").done == 9
    assert isinstance(progress.complete("job", "6", 6), LastPart)

    assert list(progress.results("job")) == [(str(n), n) for n in range(10)]


@pytest.mark.usefixtures("small")
def test_named_parts_of_many_shards_are_found(progress):
    names = [f"part-{n}" for n in range(10)]
    with Parts(({"id": name} for name in names), id_field="id") as parts:
        progress.create("job", parts)

    assert [part.id for part in progress.pending("job")] == names
    last = [progress.complete("job", name) for name in reversed(names)][-1]

    assert isinstance(last, LastPart)


@pytest.mark.usefixtures("small")
def test_failures_of_many_shards_are_counted_and_retried(progress):
    create(progress, "job", 10, tolerate=1)
    for number in range(10):
        if number % 3:
            progress.complete("job", str(number))
        else:
            progress.give_up(progress.begin("job", str(number)), REASON)
    assert (progress.job("job").failed, progress.job("job").state) == (4, Open())

    assert progress.retry("job") == 4
    assert [part.number for part in progress.pending("job")] == [0, 3, 6, 9]

    answers = [progress.complete("job", str(number)) for number in (9, 3, 0, 6)]
    assert [type(answer) for answer in answers] == [StillOpen] * 3 + [LastPart]


@pytest.mark.usefixtures("small")
def test_a_shard_that_nobody_closed_is_closed_by_whoever_asks_next(progress, monkeypatch):
    create(progress, "job", 9)
    with monkeypatch.context() as crash:
        crash.setattr(progress, "_left", lambda *_: ("StillOpen",))
        for number in range(9):
            progress.complete("job", str(number))

    assert progress.job("job").done == 9
    assert isinstance(progress.complete("job", "4"), LastPart)


@pytest.mark.usefixtures("small")
def test_a_retry_that_dies_half_way_lets_no_reduce_go_and_may_be_repeated(
    progress, monkeypatch, clock
):
    create(progress, "job", 4, tolerate=4)
    progress.give_up(progress.begin("job", "0"), REASON)
    for number in (1, 2):
        progress.complete("job", str(number))
    progress.fail_job("job", _why())
    progress.complete("job", "3")
    with monkeypatch.context() as crash:
        crash.setattr(progress, "_reopen", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            progress.retry("job")

    assert progress.claim_reduce("job") is None
    clock.now += 100
    assert progress.claim_reduce("job") is None
    progress.retry("job")

    assert progress.claim_reduce("job") is None
    assert [part.id for part in progress.pending("job")] == ["0"]
    assert isinstance(progress.complete("job", "0"), LastPart)


@pytest.mark.usefixtures("small")
def test_a_retry_brings_back_nothing_that_was_completed_meanwhile(progress, monkeypatch):
    create(progress, "job", 3)
    for number in range(3):
        progress.give_up(progress.begin("job", str(number)), REASON)
    change, table = progress._kept.table.change, progress._kept.table
    raced = []

    def race(id_, expression, *rest, **values):
        if expression.startswith("ADD #todo") and not raced:
            raced.append(1)
            progress.complete("job", "1", "meanwhile")
        return change(id_, expression, *rest, **values)

    monkeypatch.setattr(table, "change", race)

    assert progress.retry("job") == 2
    assert [part.id for part in progress.pending("job")] == ["0", "2"]
    assert list(progress.results("job")) == [("1", "meanwhile")]


@pytest.mark.usefixtures("small")
def test_a_creation_that_dies_is_no_job_and_gives_way_to_the_next(progress, monkeypatch):
    with monkeypatch.context() as crash:
        crash.setattr(progress._kept.table, "write_all", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            create(progress, "job", 10)

    with pytest.raises(JobDoesNotExist):
        progress.job("job")
    with pytest.raises(JobDoesNotExist):
        progress.begin("job", "0")
    assert progress.jobs() == []
    assert create(progress, "job", 4).total == 4
    with pytest.raises(JobExists):
        create(progress, "job", 4)


@pytest.mark.usefixtures("small")
def test_a_creation_that_was_overtaken_says_so(progress, monkeypatch):
    write_all = progress._kept.table.write_all

    def overtaken(*arguments, **keywords):
        monkeypatch.setattr(progress._kept.table, "write_all", write_all)
        write_all(*arguments, **keywords)
        create(progress, "job", 2)

    monkeypatch.setattr(progress._kept.table, "write_all", overtaken)
    with pytest.raises(JobExists):
        create(progress, "job", 10)

    assert progress.job("job").total == 2
    assert len(progress.pending("job")) == 2


@pytest.mark.usefixtures("small")
def test_a_deleted_job_leaves_nothing_behind(progress):
    with Parts(({"id": f"p{n}", "t": "x" * 5000} for n in range(8)), id_field="id") as parts:
        progress.create("job", parts)
    progress.complete("job", "p3", "r")

    progress.delete("job")

    assert [set(item) for item in items(progress).values()] == [{"id"}]


def test_no_item_grows_with_its_job(progress):
    """The library that this replaces kept all parts in one item, of 400 KB at most."""
    create(progress, "job", 20_000)

    sizes = {key: len(str(item)) for key, item in items_of(progress, "job").items()}

    assert max(sizes.values()) < 20_000
    assert len(progress.pending("job", after=19_990)) == 9


def items_of(progress, job_id):
    top = progress._kept.top(job_id)
    keys = [top["id"], f"{top['key']}#shard#0", f"{top['key']}#shard#19", f"{top['key']}#load#0"]
    return progress._kept.table.read_all(keys)


def _why():
    from resumed.progress.errors import JobFault

    return JobFault("builtins.OSError", "disk", None, 1, 0.0)


ITEM_BYTES = 400_000


def weight(attribute):
    """Count the bytes that an attribute has, names and all."""
    ((kind, value),) = attribute.items()
    match kind:
        case "M":
            return 3 + sum(len(name) + 1 + weight(each) for name, each in value.items())
        case "L":
            return 3 + sum(1 + weight(each) for each in value)
        case "NS" | "SS":
            return 3 + sum(1 + len(each) for each in value)
        case _:
            return len(str(value).encode())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("no " * 600, marks=pytest.mark.slow),
        '"\\\u2019' * 600,
        pytest.param("x" * 200_000, marks=pytest.mark.slow),
    ],
)
def test_a_thousand_failures_with_long_reasons_fit_into_their_shard(progress, text):
    create(progress, "job", 1000)
    shard = progress._kept.shards(progress._kept.top("job"), {0})[0]
    reason = json.dumps(["builtins.ValueError", text])
    for place in range(999):
        entry = [12, 1_800_000_000.123456, shards.fitting(shard, place, reason)]
        shard["tries"][str(place)] = json.dumps(entry)
    progress._kept.table.write_all([shard])

    for _ in range(3):
        lease = progress.begin("job", "999")
        progress.fail(lease, Fault("builtins.ValueError", text))

    (item,) = (item for id_, item in items(progress).items() if "#shard#" in id_)
    assert weight({"M": item}) < ITEM_BYTES
    assert progress.part("job", "998").fault.kind.startswith("builtins")
    assert progress.part("job", "999").attempts == 3


def test_a_reason_is_kept_whole_where_there_is_room(progress):
    create(progress, "job", 1000)
    fault = Fault("builtins.ValueError", "no " * 600)

    for number in range(5):
        progress.fail(progress.begin("job", str(number)), fault)

    assert [progress.part("job", str(number)).fault for number in range(5)] == [fault] * 5


def test_a_large_payload_leaves_room_for_a_large_result(progress):
    payload, result = {"x": "p" * 250_000}, "r" * 250_000
    with Parts([payload, {"x": "p" * 100_000}]) as parts:
        progress.create("job", parts)

    for part in ("0", "1"):
        progress.begin("job", part)
        progress.complete("job", part, result)

    assert max(weight({"M": item}) for item in items(progress).values()) < ITEM_BYTES
    assert progress.part("job", "0").payload == payload
    assert [each for _, each in progress.results("job")] == [result, result]
    progress.delete("job")
    assert [set(item) for item in items(progress).values()] == [{"id"}]
