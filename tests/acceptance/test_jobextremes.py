"""Drop files of records that nobody would write by hand, and ask for what is seldom asked."""

import json

import pytest

CONFIG = """
handler = "handler:process"
settle = 0
[retry]
initial = "100ms"
jitter = 0
[job]
match = ["*.jsonl", "*.csv"]
id = "id"
reduce = "handler:reduce"
results = true
"""
HANDLER = """
from resumed import PermanentError


def process(item):
    if item.part.get("what") == "bad":
        raise PermanentError("a bad row")
    return item.part.get("n")


def reduce(job):
    return sorted(part for part, _ in job.results())
"""
WITHOUT_IDS = CONFIG.replace('id = "id"\n', "")


@pytest.fixture(autouse=True)
def _configured(home):
    home.configure(CONFIG, handler=HANDLER)


def drop(home, name, content):
    hidden = home.inbox / ".dropped.tmp"
    hidden.write_bytes(content)
    hidden.rename(home.inbox / name)


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def job_records(home, kind):
    folder = home.state / "jobs"
    found = [path.read_bytes() for path in [*folder.glob("*.jsonl"), *folder.glob("archive/*")]]
    records = [json.loads(line) for each in found for line in each.split(b"\n")[:-1]]
    return [each for each in records if each["kind"] == kind]


def test_results_find_a_place_beside_a_file_of_the_longest_name(home, drain):
    name = "x" * 251 + ".csv"
    drop(home, name, b"id,n\na,1\n")

    ended = drain()

    assert ended.returncode == 0, ended.stderr
    (results,) = set(home.names("done")) - {name}
    assert results.endswith(".results.jsonl")
    assert json.loads((home.done / results).read_text()) == {"part": "a", "result": "1"}


def test_the_results_of_a_second_file_of_a_name_are_named_after_it(home, drain):
    for n in (1, 2):
        drop(home, "a.csv", b"id,n\na,%d\n" % n)
        drain()

    (second,) = (
        set(home.names("done"))
        - {"a.csv", "a.csv.results.jsonl"}
        - {each for each in home.names("done") if each.endswith(".results.jsonl")}
    )
    assert (home.done / second).read_text() == "id,n\na,2\n"
    results = json.loads((home.done / f"{second}.results.jsonl").read_text())
    assert results == {"part": "a", "result": "2"}


def test_records_of_any_depth_harm_nobody(home, drain):
    def nested(depth):
        return b'{"id":"d%d","n":%s1%s}\n' % (depth, b"[" * (depth - 1), b"]" * (depth - 1))

    depths = [99, 100, 101, *range(850, 1000), 5_000, 100_000]
    drop(home, "a.jsonl", b"".join(map(nested, depths)))
    drop(home, "b.jsonl", lines({"id": "x", "n": 1}))

    ended = drain()

    assert ended.returncode == 1, ended.stderr
    assert "b.jsonl" in home.names("done")
    assert {each["part"] for each in job_records(home, "done")} == {"d99", "d100", "x"}
    bad = {each["line"]: each["error"]["text"] for each in job_records(home, "bad")}
    assert bad[3] == "line 3 is nested deeper than 100 levels"
    assert len(bad) == len(depths) - 2


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        (b'{"x":"' + b"y" * 1_000_000 + b'"}', "bytes of JSON, more than 262144"),
        (b'{"x":"' + b"\xc3\xa9" * 500_000 + b'"}', "bytes of JSON, more than 262144"),
        (b'{"x":' + b"[" * 500 + b"]" * 500 + b"}", "nested deeper than 100 levels"),
        (b'{"x":' + b"[" * 970 + b"]" * 970 + b"}", "nested deeper"),
        (b'{"x":NaN}', "no JSON"),
        (b'{"x":1e999}', "no JSON"),
    ],
    ids=["long", "long when written", "deep", "too deep", "no number", "no number of any size"],
)
def test_metadata_that_no_record_can_hold_are_refused_with_their_file(home, drain, metadata, why):
    drop(home, "a.jsonl", b'{"resumed-job":{"metadata":%s}}\n{"id":"a"}\n' % metadata)
    drop(home, "b.jsonl", lines({"id": "x"}))

    ended = drain()

    assert ended.returncode == 1, ended.stderr
    assert home.names("failed") == ["a.jsonl"]
    assert "b.jsonl" in home.names("done")
    assert why in (home.failed / "a.jsonl.failure.txt").read_text()


def test_a_command_that_reduces_is_run_also_with_much_metadata(home, drain):
    home.configure(CONFIG.replace('"handler:reduce"', '["wc", "-l"]'), handler=HANDLER)
    metadata = json.dumps({"x": "y" * 200_000}).encode()
    drop(home, "a.jsonl", b'{"resumed-job":{"metadata":%s}}\n{"id":"a"}\n' % metadata)

    drain()

    assert [each["result"] for each in job_records(home, "reduced")] == [1]


def test_a_row_that_is_six_times_as_long_on_its_way_to_a_worker_is_a_part(home, drain):
    counting = "def process(item):\n    return len(item.part['n'])\n"
    home.configure(WITHOUT_IDS.replace('reduce = "handler:reduce"\n', ""), handler=counting)
    drop(home, "a.csv", b"n\n" + b"\x01" * 1_000_000 + b"\nx\n")

    drain(timeout=30)

    assert [each["result"] for each in job_records(home, "done")] == [1_000_000, 1]


@pytest.mark.slow
def test_rows_of_a_wide_table_that_say_little_are_parts(home, drain):
    columns = [f"a rather long name of the column number {n:05}" for n in range(5000)]
    row = b"," * (len(columns) - 1)
    drop(
        home,
        "a.csv",
        ",".join(["id", *columns[1:]]).encode()
        + b"\n"
        + b"".join(b"p%03d%s\n" % (n, row) for n in range(200)),
    )

    drain(timeout=60)

    assert len(job_records(home, "done")) == 200
    assert "a.csv" in home.names("done")


@pytest.mark.slow
def test_an_item_with_many_recorded_steps_goes_on_after_them(home, drain):
    home.configure(
        CONFIG,
        handler="""
from resumed import TransientError


def process(item):
    for n in range(20):
        item.step(f"s{n}", str, "x" * 250_000)
    if item.attempt == 1:
        raise TransientError("not now")


def reduce(job):
    pass
""",
    )
    drop(home, "a.bin", b"x")

    drain("--wait", timeout=30)

    assert home.names("done") == ["a.bin"]


def test_records_that_are_added_while_the_last_part_runs_are_not_lost(home, drain, ctl):
    home.configure(
        CONFIG,
        handler="""
def process(item):
    if item.part_id == "a":
        with item.path.open("a") as more:
            print('{"id": "b"}', file=more)


def reduce(job):
    return [part for part, _ in job.results()]
""",
    )
    drop(home, "a.jsonl", lines({"id": "a"}))

    drain()

    assert home.names("failed") == ["a.jsonl"]
    assert "changed" in (home.failed / "a.jsonl.failure.txt").read_text()
    ctl("retry", "a.jsonl", status=None)
    drain()
    assert [each["result"] for each in job_records(home, "reduced")] == [["a", "b"]]


REDUCE_OF_STEPS = """
from pathlib import Path
from resumed import PermanentError

HERE = Path(__file__).parent


def process(item):
    if item.part["n"] < 0:
        raise PermanentError("a bad row")
    return item.part["n"]


def reduce(job):
    total = job.step("total", lambda: sum(n for _, n in job.results()))
    if not (HERE / "calm").exists():
        raise PermanentError("nobody takes it")
    return total
"""


def test_a_reduce_adds_up_anew_what_was_mended_after_its_step(home, drain, ctl):
    home.configure(CONFIG, handler=REDUCE_OF_STEPS)
    drop(home, "a.jsonl", lines({"id": "a", "n": 1}, {"id": "b", "n": 2}))
    drain()
    assert home.names("failed") == ["a.jsonl"]
    (home.path / "calm").touch()
    (home.path / "fixed").write_bytes(lines({"id": "a", "n": 1}, {"id": "b", "n": 40}))

    ctl("retry", "a.jsonl", "--with", str(home.path / "fixed"), status=None)
    drain()

    assert [each["result"] for each in job_records(home, "reduced")] == [41]


@pytest.mark.slow
def test_a_reduce_repeats_no_step_when_nothing_else_changed(home, drain, ctl):
    home.configure(CONFIG, handler=REDUCE_OF_STEPS)
    drop(home, "a.jsonl", lines({"id": "a", "n": 1}))
    drain()
    (home.path / "calm").touch()

    ctl("retry", "a.jsonl", status=None)
    drain()

    stepped = job_records(home, "reduce_stepped")
    assert [each["step"] for each in stepped] == ["total"]
    assert [each["result"] for each in job_records(home, "reduced")] == [1]


def test_a_fresh_retry_forgets_the_steps_of_the_reduce_too(home, drain, ctl):
    home.configure(CONFIG, handler=REDUCE_OF_STEPS)
    drop(home, "a.jsonl", lines({"id": "a", "n": 1}))
    drain()
    (home.path / "calm").touch()

    ctl("retry", "a.jsonl", "--fresh", status=None)
    drain()

    assert len(job_records(home, "reduce_stepped")) == 2


def test_a_reload_with_another_version_forgets_the_steps_of_an_open_job(
    home, daemon, ctl, wait_until
):
    home.configure(
        CONFIG,
        handler="""
from resumed import TransientError


def process(item):
    item.step("one", str)
    if item.attempt == 1:
        raise TransientError("not now")


def reduce(job):
    pass
""",
    )
    slow = CONFIG.replace('initial = "100ms"', 'initial = "1h"')
    home.configure(slow)
    drop(home, "a.jsonl", lines({"id": "a"}))
    process = daemon()
    wait_until(lambda: job_records(home, "waiting"), what=process.tail)

    home.configure('version = "2"\n' + slow)
    ctl("reload")
    ctl("retry", "a.jsonl#a")

    wait_until((home.done / "a.jsonl").exists, what=process.tail)
    assert len(job_records(home, "stepped")) == 2


def test_a_record_with_an_id_that_says_true_where_another_says_1_is_no_repetition(home, drain):
    drop(home, "a.jsonl", b'{"id":"a","paid":1}\n{"id":"a","paid":true}\n')

    drain()

    (bad,) = job_records(home, "bad")
    assert "says something else" in bad["error"]["text"]


def test_pending_parts_of_what_cannot_be_read_are_refused_in_words(home, drain, ctl):
    drop(home, "a.csv", b"id,id\n1,2\n")
    drain()

    told = ctl("jobs", "pending", "a.csv", status=None)

    assert told.returncode == 1
    assert "header has 'id' twice" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_part_that_is_there_twice_is_pending_once(home, drain, ctl):
    home.configure(
        CONFIG + 'fail_job_on = ["KeyError"]\n',
        handler="def process(item):\n    raise KeyError\ndef reduce(job):\n    pass\n",
    )
    many = [{"id": f"p{n}"} for n in range(2000)]
    drop(home, "a.jsonl", lines(*many, *many))
    drain()

    pending = ctl("jobs", "pending", "a.jsonl").stdout.split()

    assert len(pending) == len(set(pending)) > 1000


def test_a_file_of_which_nothing_could_be_read_takes_a_mended_one(home, daemon, ctl, wait_until):
    drop(home, "a.csv", b"id,id\n1,2\n")
    process = daemon()
    wait_until((home.failed / "a.csv.failure.txt").exists, what=process.tail)
    (home.path / "fixed").write_bytes(b"id,n\na,1\n")

    ctl("retry", "a.csv", "--with", str(home.path / "fixed"))

    wait_until((home.done / "a.csv.results.jsonl").exists, what=process.tail)
