"""Run files of records with the real daemon: kill it, spoil them, mend them, count reduces.

As in `test_kills`, handlers tell an oracle what they do, one line each, in one file that the
kernel appends to.
"""

import json
import random
import time
from collections import Counter, defaultdict

import pytest

from resumed.jobs import Folder, create_job

CONFIG = """
handler = "handler:process"
workers = 2
settle = 0
max_crashes = 100
[retry]
initial = "100ms"
jitter = "50ms"
[job]
match = ["*.jsonl", "*.csv"]
id = "id"
reduce = "handler:reduce"
results = true
"""

HANDLER = """
import os, time
from resumed import PermanentError, TransientError


def tell(*words):
    log = os.open(os.environ["ORACLE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, (" ".join(map(str, words)) + chr(10)).encode())
    os.close(log)


def process(item):
    tell("begin", item.job, item.part_id, item.attempt, item.key)
    time.sleep(float(item.part.get("seconds", 0.01)))
    what = item.part.get("what")
    if what == "bad":
        raise PermanentError("a bad row")
    if what == "once" and item.attempt == 1:
        raise TransientError("not now")
    if what == "fatal":
        raise KeyError("no such account")
    tell("end", item.job, item.part_id, item.attempt, item.key)
    return int(item.part["n"])


def reduce(job):
    tell("reduce", job.id, "-", job.attempt, job.key)
    time.sleep(0.01)
    results = list(job.results())
    tell("reduced", job.id, "-", job.attempt, job.key)
    return {"sum": sum(n for _, n in results), "order": [part for part, _ in results]}
"""


@pytest.fixture(autouse=True)
def oracle(home, tmp_path, monkeypatch):
    home.configure(CONFIG, handler=HANDLER)
    path = tmp_path / "oracle"
    path.touch()
    monkeypatch.setenv("ORACLE", str(path))
    return path


def told(oracle, kind=None):
    lines = [line.split() for line in oracle.read_text().splitlines()]
    return [line for line in lines if kind in (None, line[0])]


def drop(home, name, rows):
    hidden = home.inbox / f".{name}.tmp"
    hidden.write_text("".join(json.dumps(row) + "\n" for row in rows))
    hidden.rename(home.inbox / name)


def rows(count, **more):
    return [{"id": f"p{n}", "n": n, **more} for n in range(count)]


def job_records(home, kind=None):
    found = []
    for path in [*(home.state / "jobs").glob("*.jsonl"), *home.state.glob("jobs/archive/*")]:
        for line in path.read_bytes().split(b"\n")[:-1]:
            record = json.loads(line)
            if kind in (None, record["kind"]):
                found.append({"job": path.stem, **record})
    return found


def done_parts(home):
    return {(each["job"], each["part"]) for each in job_records(home, "done")}


@pytest.mark.timeout(500)
@pytest.mark.usefixtures("untraced")
def test_kills_leave_one_reduce_and_repeat_no_done_part(home, daemon, oracle, wait_until):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kills = 36
    seen = []
    for kill in range(kills):
        drop(home, f"job{kill}.jsonl", rows(5))
        before = len(told(oracle))
        process = daemon.start()
        # Twelve lines tell of an undisturbed job; the last ones kill after its reduce.
        until = before + kill % 13
        wait_until(lambda until=until: len(told(oracle)) >= until, 30, what="so many lines")
        time.sleep(chance.uniform(0, 0.015))
        process.kill()
        seen.append((len(told(oracle)), done_parts(home)))
    last = daemon()
    wait_until(lambda: len(home.names("done")) == 2 * kills, 60, what=last.tail())
    assert last.stop() == 0

    lines = told(oracle)
    begun = Counter(
        (job, part, attempt) for what, job, part, attempt, _ in lines if what == "begin"
    )
    assert max(begun.values()) == 1, "an attempt's number was used twice"
    for heard, done in seen:
        again = {(job, part) for what, job, part, *_ in lines[heard:] if what == "begin"}
        assert not again & done, "a part that was recorded done ran again"
    reduced = Counter(each["job"] for each in job_records(home, "reduced"))
    assert len(reduced) == kills
    assert set(reduced.values()) == {1}, "a reduce was recorded done twice"
    keys = defaultdict(set)
    for _, job, _, _, key in told(oracle, "reduce"):
        keys[job].add(key)
    assert all(len(each) == 1 for each in keys.values())
    assert not home.names("failed")
    for result in home.done.glob("*.results.jsonl"):
        parts = [json.loads(line) for line in result.read_text().splitlines()]
        assert parts == [{"part": f"p{n}", "result": n} for n in range(5)]


def test_failed_rows_keep_the_job_in_failed_and_the_rest_is_done(home, drain, oracle, ctl):
    (home.inbox / "orders.csv").write_bytes(
        b"\xef\xbb\xbfid,n,what\r\na,1,\r\nb,2,bad\r\nc,3\r\nd,4,once\r\n\xff,5,\r\na,1,\r\nb,9,\r\n"
    )

    drain("--wait")

    assert home.names("failed") == ["orders.csv"]
    note = (home.failed / "orders.csv.failure.txt").read_text()
    assert "4 of 6 parts failed" in note
    listed = ctl("failures").stdout
    assert listed.endswith("4 of 6 parts failed\n")
    assert "retry" in note
    bad = {each["part"]: each["error"]["text"] for each in job_records(home, "bad")}
    assert set(bad) == {"line 4", "line 6", "line 8"}
    assert "columns" in bad["line 4"]
    assert "UTF-8" in bad["line 6"]
    assert "'b'" in bad["line 8"]
    assert {each["part"] for each in job_records(home, "done")} == {"a", "d"}
    assert [each["part"] for each in job_records(home, "failed")] == ["b"]
    assert not told(oracle, "reduce")


def test_an_empty_file_is_reduced_once_over_nothing(home, drain):
    (home.inbox / "nothing.jsonl").touch()

    drain()

    assert [each["result"] for each in job_records(home, "reduced")] == [{"sum": 0, "order": []}]
    assert sorted(home.names("done")) == ["nothing.jsonl", "nothing.jsonl.results.jsonl"]


def test_results_come_in_the_order_of_the_file(home, drain):
    slow_first = [{"id": f"p{n}", "n": n, "seconds": 0.3 if n == 0 else 0} for n in range(40)]
    drop(home, "a.jsonl", slow_first)

    drain()

    (reduced,) = job_records(home, "reduced")
    assert reduced["result"]["order"] == [f"p{n}" for n in range(40)]


def test_a_name_that_leaves_no_room_for_an_ending_is_cut_for_the_results(home, drain):
    name = "n" * 249 + ".jsonl"
    (home.inbox / name).write_text('{"id": "a", "n": 1}\n')

    ended = drain()

    assert ended.returncode == 0, ended.stderr
    assert home.names("done") == ["n" * 241 + ".results.jsonl", name]


def test_an_exception_of_fail_job_on_fails_the_job_and_skips_the_rest(home, drain, oracle):
    home.configure(CONFIG + 'fail_job_on = ["KeyError"]\n', handler=HANDLER)
    many = rows(3000)
    many[1]["what"] = "fatal"
    drop(home, "a.jsonl", many)

    drain()

    assert home.names("failed") == ["a.jsonl"]
    (fault,) = job_records(home, "job_failed")
    assert (fault["error"]["kind"], fault["part"]) == ("builtins.KeyError", "p1")
    assert len(told(oracle, "begin")) < 1000
    assert not told(oracle, "reduce")


def test_tolerated_failures_do_not_keep_the_reduce_back(home, drain):
    home.configure(CONFIG + 'tolerate = "20%"\n', handler=HANDLER)
    drop(home, "a.jsonl", [*rows(4), {"id": "x", "n": 9, "what": "bad"}])

    drain()

    (reduced,) = job_records(home, "reduced")
    assert reduced["result"]["sum"] == 6
    assert "a.jsonl" in home.names("done")


def test_a_failed_job_moved_back_runs_only_what_failed(home, drain, oracle):
    drop(home, "a.jsonl", [*rows(4), {"id": "x", "n": 9, "what": "bad"}])
    drain()
    home.configure(CONFIG, handler=HANDLER.replace('what == "bad"', "False"))
    before = len(told(oracle))

    (home.failed / "a.jsonl").rename(home.inbox / "a.jsonl")
    drain()

    ran = [line[2] for line in told(oracle)[before:] if line[0] == "begin"]
    assert ran == ["x"]
    (reduced,) = job_records(home, "reduced")
    assert reduced["result"] == {"sum": 15, "order": ["p0", "p1", "p2", "p3", "x"]}


def test_a_part_that_kills_its_worker_fails_and_its_neighbours_go_on(home, drain):
    killing = HANDLER.replace('raise PermanentError("a bad row")', "os.kill(os.getpid(), 9)")
    home.configure(CONFIG.replace("initial", "max_attempts = 2\ninitial"), handler=killing)
    drop(home, "a.jsonl", [{"id": "x", "n": 9, "what": "bad"}, *rows(50)])

    drain("--wait")

    assert home.names("failed") == ["a.jsonl"]
    (failed,) = job_records(home, "failed")
    assert failed["part"] == "x"
    assert failed["error"]["kind"].startswith("signal 9")
    assert len(job_records(home, "done")) == 50


def test_steps_of_a_part_are_recorded_and_not_repeated(home, drain, oracle):
    stepping = HANDLER.replace(
        "    what = item.part",
        '    item.step("one", tell, "step", "-", item.part_id)\n    what = item.part',
    )
    home.configure(CONFIG, handler=stepping)
    drop(home, "a.jsonl", [{"id": "x", "n": 1, "what": "once"}, *rows(3)])

    drain("--wait")

    assert Counter(line[2] for line in told(oracle, "step")) == {"x": 1, "p0": 1, "p1": 1, "p2": 1}
    assert "a.jsonl" in home.names("done")


def test_a_reduce_has_attempts_of_its_own_and_always_one_key(home, drain, oracle):
    flaky = HANDLER.replace(
        "    time.sleep(0.01)\n", '    if job.attempt < 3: raise TransientError("busy")\n'
    )
    home.configure(CONFIG, handler=flaky)
    drop(home, "a.jsonl", rows(2))

    drain("--wait")

    assert [line[3] for line in told(oracle, "reduce")] == ["1", "2", "3"]
    assert len({line[4] for line in told(oracle, "reduce")}) == 1
    assert len(job_records(home, "reduced")) == 1


def test_commands_get_parts_and_results_as_json_lines(home, drain):
    home.configure(
        """
command = ["sh", "-c", "cat; test -n \\"$RESUMED_PART\\""]
settle = 0
[job]
match = ["*.jsonl"]
id = "id"
reduce = ["sh", "-c", "wc -l"]
"""
    )
    drop(home, "a.jsonl", rows(3))

    drain()

    assert [each["result"] for each in job_records(home, "done")] == rows(3)
    assert [each["result"] for each in job_records(home, "reduced")] == [3]
    assert home.names("done") == ["a.jsonl"]


SPOILT = [*rows(3), {"id": "x", "n": 9, "what": "bad"}, {"id": "y", "n": 1, "what": "bad"}]


def test_retry_of_one_part_runs_that_part_only(home, daemon, ctl, oracle, wait_until):
    drop(home, "a.jsonl", SPOILT)
    process = daemon()
    wait_until(lambda: home.names("failed") == ["a.jsonl"], what=process.tail())
    before = len(told(oracle))

    ctl("retry", "a.jsonl#x")

    wait_until(lambda: len(job_records(home, "closed")) == 2)
    assert [line[2:4] for line in told(oracle)[before:]] == [["x", "2"]]


def test_retry_with_a_mended_file_runs_what_is_new_changed_or_failed(
    home, daemon, ctl, oracle, wait_until
):
    drop(home, "a.jsonl", SPOILT)
    process = daemon()
    wait_until((home.failed / "a.jsonl.failure.txt").exists, what=process.tail())
    before = len(told(oracle))
    mended = [
        {"id": "new", "n": 100},  # inserted before the others
        {"n": 9, "id": "x"},  # mended
        {"n": 2, "id": "p2"},  # moved, its fields in another order
        {"id": "p0", "n": 50},  # changed
        {"id": "p1", "n": 1},
    ]
    fixed = home.path / "fixed.jsonl"
    fixed.write_text("".join(json.dumps(row) + "\n" for row in mended))

    listed = ctl("retry", "a.jsonl", "--with", str(fixed), "-n", "--json").stdout
    said = ctl("retry", "a.jsonl", "--with", str(fixed)).stdout

    assert json.loads(listed)["parts"] == {
        "new": ["new"],
        "changed": ["x", "p0"],
        "again": [],
        "unchanged": ["p2", "p1"],
        "gone": ["y"],
        "bad": [],
    }
    assert said.splitlines() == [
        "a.jsonl: goes on with the new file",
        "a.jsonl: 1 new, 2 changed, 2 unchanged, 1 gone; 3 to run",
    ]
    wait_until(lambda: list(home.state.glob("jobs/archive/*")), what=process.tail())
    ran = sorted(line[2] for line in told(oracle)[before:] if line[0] == "begin")
    assert ran == ["new", "p0", "x"]
    split = job_records(home, "split")[-1]
    counted = {each: split[each] for each in ("new", "changed", "unchanged", "gone")}
    assert counted == {"new": 1, "changed": 2, "unchanged": 2, "gone": 1}
    [told_of] = [
        json.loads(line) for line in ctl("jobs", "ls", "--all", "--json").stdout.splitlines()
    ]
    assert (told_of["parts"], told_of["done"], told_of["failed"]) == (5, 5, 0)
    (reduced,) = job_records(home, "reduced")
    assert reduced["result"] == {"sum": 162, "order": ["new", "x", "p2", "p0", "p1"]}
    assert home.names("failed") == []
    assert (home.done / "a.jsonl").read_bytes() == fixed.read_bytes()
    assert not list(home.inbox.iterdir())


def test_cancel_skips_the_rest_and_retry_goes_on(home, daemon, ctl, oracle, wait_until):
    drop(home, "a.jsonl", rows(400, seconds=0.05))
    process = daemon()
    wait_until(lambda: len(told(oracle, "end")) > 3, what=process.tail())

    ctl("cancel", "a.jsonl")
    wait_until(lambda: home.names("failed") == ["a.jsonl"], what=process.tail())
    ended = len(told(oracle, "end"))
    assert ended < 300
    ctl("retry", "a.jsonl")

    wait_until((home.done / "a.jsonl").exists, 60, what=process.tail())
    assert Counter(line[2] for line in told(oracle, "end")) == {f"p{n}": 1 for n in range(400)}


def test_a_job_that_cannot_be_read_is_listed_by_its_name(home, daemon, ctl, wait_until):
    (home.inbox / "a.csv").write_bytes(b"\xff\xfe,\n1,2\n")
    process = daemon()
    wait_until((home.failed / "a.csv.failure.txt").exists, what=process.tail())

    (job,) = [json.loads(line) for line in ctl("jobs", "ls", "--json").stdout.splitlines()]

    assert (job["name"], job["state"]) == ("a.csv", "failed")
    assert "unusable" in ctl("jobs", "info", "a.csv").stdout


def test_ctl_tells_of_jobs(home, daemon, ctl, wait_until):
    drop(home, "a.jsonl", [*SPOILT, {"n": 1}])
    process = daemon()
    ctl("jobs", "wait", "a.jsonl", status=1)
    wait_until((home.failed / "a.jsonl.failure.txt").exists, what=process.tail())

    (job,) = [json.loads(line) for line in ctl("jobs", "ls", "--json").stdout.splitlines()]
    assert (job["state"], job["parts"], job["done"], job["failed"]) == ("failed", 6, 3, 3)
    assert ctl("jobs", "ls", "--ids").stdout.split() == [job["id"]]
    assert "a.jsonl" in ctl("jobs", "ls").stdout
    assert "failed" in ctl("jobs", "info", "a.jsonl").stdout
    failures = ctl("jobs", "failures", job["id"]).stdout
    assert "a bad row" in failures
    assert "line 6" in failures
    assert ctl("jobs", "pending", "a.jsonl").stdout == ""


def test_submit_makes_a_job_of_files_that_stay_where_they_are(home, ctl, drain, tmp_path):
    home.configure(
        CONFIG,
        handler="def process(item):\n    return len(open(item.part['path']).read())\n"
        "def reduce(job):\n    return [job.metadata, sorted(n for _, n in job.results())]\n",
    )
    for n in range(3):
        (tmp_path / f"{n}.txt").write_text("x" * n)

    files = [str(tmp_path / f"{n}.txt") for n in range(3)]
    said = ctl("submit", "--each", *files, "--meta", "batch=17", "--meta", "who=me", "--json")
    assert json.loads(said.stdout)["parts"] == 3
    drain()

    (reduced,) = job_records(home, "reduced")
    assert reduced["result"] == [{"batch": 17, "who": "me"}, [0, 1, 2]]
    assert all((tmp_path / f"{n}.txt").exists() for n in range(3))


def test_a_stop_costs_no_attempt_and_the_next_start_goes_on(home, daemon, oracle, wait_until):
    drop(home, "a.jsonl", rows(120, seconds=0.02))
    first = daemon()
    wait_until(lambda: len(told(oracle, "end")) > 10, what=first.tail())
    assert first.stop() == 0
    assert len(told(oracle, "end")) < 120

    second = daemon()
    wait_until((home.done / "a.jsonl").exists, 60, what=second.tail())

    assert Counter(line[2] for line in told(oracle, "begin")) == {f"p{n}": 1 for n in range(120)}
    assert not job_records(home, "crashed")
    assert len(job_records(home, "reduced")) == 1


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("untraced")
def test_a_hundred_thousand_parts_run_in_little_memory(home, daemon, wait_until):
    home.configure(
        CONFIG.replace("results = true", ""),
        handler="def process(item):\n    return item.part['n']\n"
        "def reduce(job):\n    return sum(n for _, n in job.results())\n",
    )
    process = daemon()
    drop(home, "a.jsonl", [{"id": n, "n": n} for n in range(100_000)])
    wait_until(lambda: job_records(home, "job_opened"), what=process.tail())

    wait_until(lambda: list(home.state.glob("jobs/archive/*")), 280, what=process.tail())

    (reduced,) = job_records(home, "reduced")
    assert reduced["result"] == sum(range(100_000))
    with open(f"/proc/{process.process.pid}/status") as status:
        (peak,) = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
    assert peak < 150 * 1024


def test_a_program_creates_a_job_and_the_daemon_runs_it(home, daemon, ctl, oracle, wait_until):
    home.configure(CONFIG.replace('id = "id"', 'id = "partid"'), handler=HANDLER)
    process = daemon()
    parts = ({"n": n % 2} for n in range(300))

    jobid = create_job(parts, metadata={"batch": 17}, send=Folder(home.inbox))

    ctl("jobs", "wait", f"{jobid}.jsonl", "--seconds", "30")
    wait_until((home.done / f"{jobid}.jsonl").exists, what=process.tail)
    assert len(told(oracle, "end")) == 300
    (reduced,) = job_records(home, "reduced")
    assert reduced["result"] == {"sum": 150, "order": [str(n) for n in range(300)]}
    (opened,) = job_records(home, "job_opened")
    assert (opened["metadata"], opened["name"]) == ({"batch": 17}, f"{jobid}.jsonl")
    assert not list(home.inbox.iterdir())
