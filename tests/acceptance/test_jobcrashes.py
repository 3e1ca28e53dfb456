"""Kill the daemon at the awkward moments of a job, and see what the next start makes of it."""

import fcntl
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from resumed import config
from resumed.engine import Engine
from resumed.parts import Clocks

CONFIG = """
handler = "handler:process"
settle = 0
max_crashes = 1
[job]
match = ["*.jsonl"]
id = "id"
reduce = "handler:reduce"
"""

HANDLER = """
import os, signal, time
from pathlib import Path

HERE = Path(__file__).parent


def daemon():
    return int((HERE / "state" / "pid").read_text())


def process(item):
    if item.part.get("what") == "kill" and not (HERE / "calm").exists():
        os.kill(daemon(), signal.SIGKILL)
        time.sleep(60)
    if item.part.get("what") == "bad":
        raise ValueError("a bad row")


def reduce(job):
    if job.name.startswith("kill") and not (HERE / "calm").exists():
        os.kill(daemon(), signal.SIGKILL)
        time.sleep(60)
    return len(list(job.results()))
"""


@pytest.fixture(autouse=True)
def _configured(home):
    home.configure(CONFIG, handler=HANDLER)


@pytest.fixture
def started(home, daemon):
    """Start the daemon so that its handler knows whom to kill."""

    def start():
        process = daemon.start()
        (home.state / "pid").write_text(str(process.process.pid))
        return process

    return start


def drop(home, name, *rows):
    hidden = home.inbox / f".{name}.tmp"
    hidden.write_text("".join(json.dumps(row) + "\n" for row in rows))
    hidden.rename(home.inbox / name)


def job_records(home, kind):
    paths = [*home.state.glob("jobs/*.jsonl"), *home.state.glob("jobs/archive/*.jsonl")]
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [each for each in lines if each["kind"] == kind]


def note(home, name):
    path = home.failed / f"{name}.failure.txt"
    return path.read_text() if path.exists() else ""


def test_a_part_that_takes_the_daemon_down_fails_and_the_others_go_on(home, started, wait_until):
    drop(home, "a.jsonl", {"id": "x", "what": "kill"}, *({"id": n} for n in range(20)))
    first = started()
    assert first.wait() == -9

    second = started()
    wait_until(lambda: note(home, "a.jsonl"), what=second.tail)

    assert "1 of 21 parts failed" in note(home, "a.jsonl")
    (failed,) = job_records(home, "failed")
    assert (failed["part"], failed["error"]["kind"]) == ("x", "crashed")
    assert len(job_records(home, "done")) == 20
    assert second.stop() == 0


def test_a_suspect_part_that_was_sent_and_not_begun_is_not_charged_at_the_next_start(
    home, started, wait_until, put_off
):
    home.configure(CONFIG.replace("max_crashes = 1", "max_crashes = 3"), handler=HANDLER)
    drop(home, "a.jsonl", {"id": "x", "what": "kill"})
    assert started().wait() == -9
    clocks = Clocks(time.time, time.monotonic, random.Random(1).getrandbits)
    engine = Engine(config.load(None, home=home.path), lambda *_, **__: None, clocks)
    (job_id,) = engine.recorder.ledger.items
    engine.resume()
    put_off(engine, engine.foreman.yard.lock(job_id), lambda: engine.foreman.waiting)
    (home.path / "calm").touch()

    second = started()
    wait_until((home.done / "a.jsonl").exists, what=second.tail)

    assert [each["attempt"] for each in job_records(home, "crashed")] == [1]


def test_a_reduce_that_takes_the_daemon_down_fails_its_job_and_may_be_retried(
    home, started, ctl, wait_until
):
    drop(home, "kill.jsonl", {"id": "x"})
    first = started()
    assert first.wait() == -9

    second = started()
    wait_until(lambda: note(home, "kill.jsonl"), what=second.tail)
    assert "in the reduce: the program died 1 times" in note(home, "kill.jsonl")
    (home.path / "calm").touch()
    ctl("retry", "kill.jsonl")
    wait_until((home.done / "kill.jsonl").exists, what=second.tail)

    claimed = job_records(home, "reduce_claimed")
    assert [each["attempt"] for each in claimed] == [1, 2]
    assert len({each["key"] for each in claimed}) == 1
    assert len(job_records(home, "done")) == 1
    assert second.stop() == 0


def forget_after(home, kind):
    """Cut the main journal behind the first record of *kind*, as a power cut may."""
    lines = home.journal.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if json.loads(line)["kind"] == kind)
    home.journal.write_bytes(b"".join(lines[: at + 1]))


def test_a_job_that_was_closed_before_a_crash_is_put_away_without_another_attempt(home, drain):
    drop(home, "a.jsonl", {"id": "x", "what": "bad"})
    drain()
    (opened,) = home.records("job_opened")
    work = home.active / opened["id"]
    work.mkdir()
    (home.failed / "a.jsonl").rename(work / "a.jsonl")
    (home.failed / "a.jsonl.failure.txt").unlink()
    forget_after(home, "job_opened")

    drain()

    assert "1 of 1 parts failed" in note(home, "a.jsonl")
    assert len(job_records(home, "failed")) == 1


def test_what_a_crash_left_unfinished_in_a_jobs_journal_is_cut_and_told(home, drain):
    drop(home, "a.jsonl", {"id": "x", "what": "bad"}, {"id": "y"})
    drain()
    (journal,) = home.state.glob("jobs/*.jsonl")
    with journal.open("ab") as file:
        file.write(b'{"n":99,"synced":')
    (home.failed / "a.jsonl").rename(home.inbox / "a.jsonl")

    told = drain().stderr

    assert '"event": "torn"' in told
    assert str(journal) in told
    assert list(home.state.glob("jobs/*.tail-*"))
    assert "1 of 2 parts failed" in note(home, "a.jsonl")


def test_a_job_whose_old_attempt_still_runs_is_not_opened_before_it_ends(home, daemon, wait_until):
    drop(home, "a.jsonl", {"id": "x", "what": "bad"})
    process = daemon()
    wait_until(lambda: note(home, "a.jsonl"), what=process.tail)
    (opened,) = home.records("job_opened")
    old = home.active / f"{opened['id']}.work" / "lock-00000000"
    old.mkdir(parents=True)
    lock = os.open(old, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)

    began = time.monotonic()
    (home.failed / "a.jsonl").rename(home.inbox / "a.jsonl")
    wait_until(lambda: home.records("retried"), what=process.tail)
    (home.inbox / "b.jsonl").write_text('{"id": "y"}\n')
    wait_until((home.done / "b.jsonl").exists, what=process.tail)
    assert len(home.records("job_opened")) == 2
    os.close(lock)
    wait_until(lambda: len(home.records("job_opened")) == 3, what=process.tail)

    assert not old.exists()
    assert time.monotonic() - began < 20
    assert process.stop() == 0


def test_a_reduce_that_a_second_signal_interrupts_costs_no_attempt_that_counts(
    home, daemon, wait_until
):
    stepping = HANDLER.replace(
        "    return len(list(job.results()))\n",
        '    count = job.step("count", lambda: len(list(job.results())))\n'
        '    while not (HERE / "calm").exists():\n'
        "        time.sleep(0.01)\n"
        "    return count\n",
    )
    home.configure(CONFIG, handler=stepping)
    drop(home, "a.jsonl", {"id": "x"}, {"id": "y"})
    first = daemon()
    wait_until(lambda: job_records(home, "reduce_stepped"), what=first.tail)
    first.signal(signal.SIGTERM)
    wait_until(lambda: "STOPPING=1" in first.told(), what=first.tail)
    assert first.stop() == 0

    (home.path / "calm").touch()
    second = daemon()
    wait_until((home.done / "a.jsonl").exists, what=second.tail)

    assert len(job_records(home, "reduce_interrupted")) == 1
    assert len(job_records(home, "reduce_stepped")) == 1
    (reduced,) = job_records(home, "reduced")
    assert (reduced["result"], reduced["attempt"]) == (2, 2)
    assert second.stop() == 0


def test_a_scratch_folder_that_somebody_removed_is_made_again(home, daemon, wait_until):
    waiting = HANDLER.replace(
        "def process(item):\n",
        'def process(item):\n    while not (HERE / "calm").exists():\n        time.sleep(0.01)\n',
    )
    home.configure(CONFIG, handler=waiting)
    drop(home, "a.jsonl", *({"id": n} for n in range(300)))
    process = daemon()
    wait_until(lambda: job_records(home, "started"), what=process.tail)

    for folder in home.active.glob("*.work"):
        shutil.rmtree(folder)
    (home.path / "calm").touch()

    wait_until((home.done / "a.jsonl").exists, what=process.tail)
    assert len(job_records(home, "done")) == 300
    assert process.stop() == 0


def test_a_jobs_journal_that_cannot_be_written_ends_the_daemon_and_the_next_start_goes_on(
    home, daemon, wait_until
):
    home.configure(CONFIG.replace("max_crashes = 1", "max_crashes = 3"), handler=HANDLER)
    process = daemon()
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    drop(home, "a.jsonl", *({"id": n} for n in range(400)))

    assert process.wait() == 74
    assert "mend the disk" in process.tail()
    second = daemon()
    wait_until((home.done / "a.jsonl").exists, what=second.tail)

    assert {each["part"] for each in job_records(home, "done")} == {str(n) for n in range(400)}
    assert len(job_records(home, "reduced")) == 1
    assert second.stop() == 0


DIES = """
import os, runpy, signal, sys
from resumed.{module} import {owner}
{owner}.{name} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["resumed", "drain", "--home", sys.argv[1]]
runpy.run_module("resumed.cli", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "moment",
    ["reconcile Reconciler fetch", "spool Spool retire", "reconcile Reconciler remove_sidecar"],
)
def test_a_kill_while_a_job_gets_another_file_leaves_the_old_one_not_in_failed(
    home, drain, ctl, moment
):
    """The new file was recorded and the old one not retired: nobody knew of it any more."""
    spoilt, mended = '{"id":"b","what":"bad"}\n', '{"id":"b"}\n'
    (home.inbox / "a.jsonl").write_text(spoilt)
    drain()
    assert home.names("failed") == ["a.jsonl"]
    fixed = home.path / "fixed.jsonl"
    fixed.write_text(mended)
    ctl("retry", "a.jsonl", "--with", str(fixed))
    module, owner, name = moment.split()
    dies = DIES.format(module=module, owner=owner, name=name)
    killed = subprocess.run([sys.executable, "-c", dies, str(home.path)], check=False)
    assert killed.returncode == -signal.SIGKILL

    drain()

    assert os.listdir(home.failed) == []
    kept = {each: (home.done / each).read_text() for each in home.names("done")}
    assert kept.pop("a.jsonl") == mended
    assert list(kept.values()) == [spoilt]
    ctl("audit")


def test_a_retry_that_a_kill_interrupts_is_done_and_answered_as_what_it_was(home, drain, ctl):
    """The job's journal had it, the main one not yet: asked again, nothing had failed."""
    rows = ('{"id":"x","what":"bad"}\n', '{"id":"y","what":"bad"}\n')
    (home.inbox / "a.jsonl").write_text("".join(rows))
    drain()
    ctl("retry", "a.jsonl#x", "a.jsonl#y")
    dies = DIES.format(module="jobbook", owner="JobBook", name="close")
    dies = dies.replace("lambda *_: ", "lambda it, close=JobBook.close: close(it) or ")
    killed = subprocess.run([sys.executable, "-c", dies, str(home.path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not home.records("retried")

    drain()

    [answer] = home.records("answered")
    assert (answer["ok"], answer["answer"]) == (True, ["a.jsonl: taken up again"])
    assert sorted(each["part"] for each in job_records(home, "failed")) == ["x", "x", "y", "y"]


def test_a_new_file_that_a_kill_left_unanswered_is_not_refused_afterwards(home, drain, ctl):
    """The record of it was there: asked again, the job had not failed."""
    (home.inbox / "a.jsonl").write_text('{"id":"b","what":"bad"}\n')
    drain()
    fixed = home.path / "fixed.jsonl"
    fixed.write_text('{"id":"b"}\n')
    ctl("retry", "a.jsonl", "--with", str(fixed))
    dies = DIES.format(module="reconcile", owner="Reconciler", name="fetch")
    killed = subprocess.run([sys.executable, "-c", dies, str(home.path)], check=False)
    assert killed.returncode == -signal.SIGKILL

    drain()

    [answer] = home.records("answered")
    assert (answer["ok"], answer["answer"]) == (True, ["a.jsonl: goes on with the new file"])
    assert (home.done / "a.jsonl").read_text() == fixed.read_text()
