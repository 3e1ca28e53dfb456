"""Ask a real daemon for changes of jobs: parts again, another file, an end, and what it refuses."""

import json
import os

import pytest

from resumed import request

CONFIG = """
handler = "handler:process"
workers = 2
settle = 0
[retry]
initial = "1h"
jitter = 0
[job]
match = ["*.jsonl", "*.csv"]
id = "id"
reduce = "handler:reduce"
"""

HANDLER = """
import time
from pathlib import Path
from resumed import TransientError

HERE = Path(__file__).parent


def wait_for(name):
    while not (HERE / name).exists():
        time.sleep(0.005)


def process(item):
    what = item.part.get("what")
    if what == "bad" and not (HERE / "calm").exists():
        raise ValueError("a bad row")
    if what == "later" and item.attempt == 1:
        raise TransientError("not now")
    if what == "slow":
        wait_for("calm")


def reduce(job):
    if job.name.startswith("later") and job.attempt == 1:
        raise TransientError("not now")
    if job.name.startswith("slow"):
        wait_for("calm")
    return len(list(job.results()))
"""


def drop(home, name, *rows):
    hidden = home.inbox / f".{name}.tmp"
    hidden.write_text("".join(json.dumps(row) + "\n" for row in rows))
    hidden.rename(home.inbox / name)


def part(part_id, what=None):
    return {"id": part_id, "what": what}


def job_records(home, kind):
    paths = [*home.state.glob("jobs/*.jsonl"), *home.state.glob("jobs/archive/*.jsonl")]
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [each for each in lines if each["kind"] == kind]


def closed(home, name):
    return (home.failed / f"{name}.failure.txt").exists()


@pytest.fixture
def running(home, daemon):
    home.configure(CONFIG, handler=HANDLER)
    return daemon()


@pytest.fixture
def failed(home, running, wait_until):
    """Bring about a failed job, and return its id."""
    drop(home, "a.jsonl", part("x", "bad"), part("y"), {"no": "id"})
    wait_until(lambda: closed(home, "a.jsonl"), what=running.tail)
    (path,) = home.state.glob("jobs/*.jsonl")
    return path.stem


def test_what_did_not_fail_is_not_tried_again(home, ctl, failed):
    before = len(job_records(home, "retried"))

    assert "nothing failed" in ctl("retry", "a.jsonl#y", status=1).stdout
    assert "has to be mended" in ctl("retry", "a.jsonl#line 3", status=1).stdout
    assert "cannot be tried again" in ctl("retry", "a.jsonl#nobody", status=1).stdout

    assert len(job_records(home, "retried")) == before
    [job] = [json.loads(line) for line in ctl("jobs", "ls", "--json").stdout.splitlines()]
    assert (job["id"], job["state"]) == (failed, "failed")


def replacement(home, kind):
    """Lay into the inbox what a request names as a job's new file."""
    path = home.inbox / ".resumed-new"
    if kind == "symlink":
        path.symlink_to(home.path / "handler.py")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("{}")
    return path


@pytest.mark.parametrize(
    "case",
    [
        ("missing", "is not there any more"),
        ("symlink", "cannot be opened"),
        ("fifo", "no regular file"),
        ("folder", "no regular file"),
        ("open", "still being written"),
    ],
)
def test_a_new_file_that_cannot_be_taken_is_refused_and_changes_nothing(
    home, running, failed, wait_until, case
):
    kind, why = case
    path = replacement(home, kind)
    writer = path.open("a") if kind == "open" else None

    name = request.submit(home.state / "requests", "retry", ids=(failed,), **{"with": path.name})
    wait_until(lambda: home.records("answered"), what=running.tail)
    if writer:
        writer.close()

    (answer,) = home.records("answered")
    assert (answer["request"], answer["ok"]) == (name, False)
    assert why in answer["answer"][0]
    assert os.path.lexists(path) == (kind != "missing")
    assert not job_records(home, "retried")
    assert closed(home, "a.jsonl")
    assert running.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can own nothing of somebody's")
def test_a_new_file_of_somebody_else_is_refused(home, running, wait_until):
    hidden = home.inbox / ".a.jsonl.tmp"
    hidden.write_text(json.dumps(part("x", "bad")))
    os.chown(hidden, 12345, -1)
    hidden.rename(home.inbox / "a.jsonl")
    wait_until(lambda: closed(home, "a.jsonl"), what=running.tail)
    (journal,) = home.state.glob("jobs/*.jsonl")
    theirs = home.inbox / ".resumed-new"
    theirs.write_text("{}")

    name = "0" * 16 + request.SUFFIX
    asked = {"verb": "retry", "ids": [journal.stem], "with": theirs.name}
    (home.path / name).write_text(json.dumps(asked))
    os.chown(home.path / name, 12345, -1)
    (home.path / name).rename(home.state / "requests" / name)
    wait_until(lambda: home.records("answered"), what=running.tail)

    (answer,) = home.records("answered")
    assert "not yours" in answer["answer"][0]
    assert theirs.exists()


def test_a_new_file_is_for_one_whole_failed_job(home, running, ctl, wait_until, failed):
    (home.path / "new.jsonl").write_text(json.dumps(part("x")))
    new = ("--with", str(home.path / "new.jsonl"))
    (home.inbox / "item.txt").write_text("no job")
    wait_until(lambda: home.records("failed")[1:], what=running.tail)

    assert "all of it" in ctl("retry", "a.jsonl#x", *new, status=1).stderr
    assert "one failed job" in ctl("retry", "*", *new, status=1).stderr
    assert "is no job" in ctl("retry", "item.txt", *new, status=1).stdout
    asked = request.submit(
        home.state / "requests", "retry", ids=(f"{failed}#x",), **{"with": ".resumed-new"}
    )
    wait_until(lambda: [each for each in home.records("answered") if each["request"] == asked])

    assert "for the whole job" in home.records("answered")[-1]["answer"][0]
    assert list(home.inbox.iterdir()) == []


def test_the_copy_of_a_file_that_cannot_be_read_is_not_left(home, ctl, failed):
    assert ctl("retry", failed, "--with", str(home.inbox), status=None).returncode != 0

    assert list(home.inbox.iterdir()) == []


def test_a_failed_job_whose_file_was_deleted_ends_as_gone(home, ctl, failed):
    (home.failed / "a.jsonl").unlink()

    assert "taken away" in ctl("retry", failed, status=1).stdout

    (gone,) = home.records("gone")
    assert gone["id"] == failed


def test_a_part_that_waits_is_tried_at_once_when_asked(home, running, ctl, wait_until):
    drop(home, "a.jsonl", part("x", "later"), part("z", "later"), part("y", "slow"))
    wait_until(lambda: len(job_records(home, "waiting")) == 2, what=running.tail)
    (journal,) = home.state.glob("jobs/*.jsonl")

    assert ctl("retry", "a.jsonl#x").stdout == "a.jsonl: 1 part tried now\n"
    assert ctl("retry", "a.jsonl").stdout == "a.jsonl: 1 part tried now\n"
    told = ctl("retry", journal.stem, "--with", str(home.path / "handler.py"), status=1).stdout
    (home.path / "calm").touch()
    wait_until((home.done / "a.jsonl").exists, what=running.tail)

    assert "cancel it first" in told
    assert len(job_records(home, "done")) == 3


def test_a_reduce_on_its_way_is_neither_hurried_nor_cancelled(home, running, ctl, wait_until):
    drop(home, "slow.jsonl", part("x"))
    wait_until(lambda: job_records(home, "reduce_claimed"), what=running.tail)

    hurried = ctl("retry", "slow.jsonl", status=1).stdout
    cancelled = ctl("cancel", "slow.jsonl", status=1).stdout
    assert ctl("jobs", "wait", "slow.jsonl", "--seconds", "0.3", status=4).stdout == ""
    [job] = [json.loads(line) for line in ctl("jobs", "ls", "--json").stdout.splitlines()]
    (home.path / "calm").touch()
    wait_until((home.done / "slow.jsonl").exists, what=running.tail)

    assert "not at its parts now" in hurried
    assert "its reduce is on its way" in cancelled
    assert (job["state"], job["reduce"]["state"]) == ("reduce", "claimed")


def test_jobs_of_one_name_are_open_one_after_another(home, running, ctl, wait_until, failed):
    drop(home, "a.jsonl", part("s", "slow"))
    wait_until(lambda: len(home.records("job_opened")) == 2, what=running.tail)

    assert "taken up again" in ctl("retry", failed).stdout
    assert "is pending" in ctl("retry", failed, status=1).stderr
    asked = request.submit(home.state / "requests", "retry", ids=(failed,))
    wait_until(lambda: home.records("answered")[-1]["request"] == asked)
    assert "has not failed" in home.records("answered")[-1]["answer"][0]
    assert "given up" in ctl("cancel", failed).stdout

    wait_until(lambda: closed(home, "a.jsonl"))
    assert "cancelled" in (home.failed / "a.jsonl.failure.txt").read_text()
    assert "not open" in ctl("cancel", failed, status=1).stdout
    (home.path / "calm").touch()
    wait_until((home.done / "a.jsonl").exists, what=running.tail)
    assert len(home.records("job_opened")) == 2


def test_a_file_that_changes_under_its_job_fails_it(home, running, wait_until):
    many = [part(f"p{n}", "slow") for n in range(400)]
    drop(home, "a.jsonl", *many)
    wait_until(lambda: home.records("job_opened"), what=running.tail)
    (path,) = home.active.glob("*/a.jsonl")
    wait_until(lambda: job_records(home, "split"), what=running.tail)

    with path.open("a") as file:
        file.write(json.dumps(part("more")) + "\n")
    (home.path / "calm").touch()

    wait_until(lambda: closed(home, "a.jsonl"), what=running.tail)
    assert (
        "changed while its parts were running" in (home.failed / "a.jsonl.failure.txt").read_text()
    )


def test_a_file_that_changes_while_its_reduce_waits_fails_its_job(home, daemon, wait_until):
    """What was added went into done/ unseen, and was never run."""
    home.configure(CONFIG.replace('"1h"', '"2s"'), handler=HANDLER)
    running = daemon()
    drop(home, "later.jsonl", part("x"))
    wait_until(lambda: job_records(home, "reduce_waiting"), what=running.tail)
    (path,) = home.path.glob("active/*/later.jsonl")
    with path.open("a") as file:
        file.write(json.dumps(part("added")) + "\n")

    wait_until(lambda: home.records("done") or closed(home, "later.jsonl"), what=running.tail)

    assert "the file was changed" in (home.failed / "later.jsonl.failure.txt").read_text()
    assert not job_records(home, "reduced")


def test_a_table_without_a_sensible_header_is_set_aside_with_the_reason(home, running, wait_until):
    (home.inbox / "a.csv").write_text("id,id\n1,2\n")

    wait_until(lambda: closed(home, "a.csv"), what=running.tail)

    assert "nothing of the file can be read" in (home.failed / "a.csv.failure.txt").read_text()
    assert not home.records("job_opened")


def test_what_is_gone_is_told_once_and_may_come_back(home, drain, ctl):
    home.configure(CONFIG, handler=HANDLER)
    drop(home, "a.jsonl", part("x", "bad"), part("y"), part("z"))
    fixed = home.path / "fixed.jsonl"
    fixed.write_text("".join(json.dumps(each) + "\n" for each in (part("x", "bad"), part("z"))))
    whole = home.path / "whole.jsonl"
    drain()
    whole.write_bytes((home.failed / "a.jsonl").read_bytes())
    first = ctl("retry", "a.jsonl", "--with", str(fixed), "-n").stdout
    ctl("retry", "a.jsonl", "--with", str(fixed))
    drain()

    again = ctl("retry", "a.jsonl", "--with", str(fixed), "-n").stdout
    back = ctl("retry", "a.jsonl", "--with", str(whole), "-n").stdout
    ctl("retry", "a.jsonl")
    drain()
    (home.path / "calm").touch()
    ctl("retry", "a.jsonl", "--with", str(whole))
    drain()

    assert "0 new, 0 changed, 2 unchanged, 1 gone; 1 to run" in first
    assert "0 new, 0 changed, 2 unchanged, 0 gone; 1 to run" in again
    assert "0 new, 0 changed, 3 unchanged, 0 gone; 1 to run" in back
    assert [each["gone"] for each in job_records(home, "split")] == [0, 1, 0, 0]
    assert [each["result"] for each in job_records(home, "reduced")] == [3]
