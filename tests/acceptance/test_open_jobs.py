"""Start again and again beside a job that stays open: what the sweeps of the proof found there.

In it one part is done, one failed, and one waits for an hour.
"""

import json

import pytest

CONFIG = """
handler = "handler:process"
settle = 0
[retry]
initial = "1h"
jitter = 0
[job]
match = ["*.jsonl"]
id = "id"
"""
HANDLER = """
from resumed import PermanentError, TransientError


def process(item):
    if item.part_id == "bad" and item.attempt == 1:
        raise PermanentError("a bad row")
    if item.part_id == "late" and item.attempt == 1:
        raise TransientError("not now")
"""


@pytest.fixture(autouse=True)
def opened(home, drain):
    home.configure(CONFIG, handler=HANDLER)
    hidden = home.inbox / ".a.tmp"
    hidden.write_text("".join(json.dumps({"id": each}) + "\n" for each in ("fine", "bad", "late")))
    hidden.rename(home.inbox / "a.jsonl")
    drain()
    (folder,) = [each for each in (home.path / "active").iterdir() if each.suffix == ".work"]
    return folder


def journal(home):
    return (home.state / "journal.jsonl").read_bytes()


def test_a_retry_that_was_asked_for_while_nobody_ran_is_done_by_the_next_start(home, drain, ctl):
    ctl("retry", "a.jsonl", status=None)

    drain()

    assert home.names("done") == ["a.jsonl"]


def test_one_part_may_be_asked_for_while_nobody_ran(home, drain, ctl):
    ctl("retry", "a.jsonl#bad", status=None)

    drain()

    assert home.names("done") == []
    (info,) = [json.loads(line) for line in ctl("jobs", "ls", "--json").stdout.splitlines()]
    assert (info["done"], info["failed"]) == (2, 0)


def test_a_job_that_was_given_up_before_it_was_opened_again_can_be_taken_up(home, drain, ctl):
    ctl("retry", "a.jsonl#bad", status=None)
    ctl("cancel", "a.jsonl", status=None)
    drain()
    assert home.names("failed") == ["a.jsonl"]

    ctl("retry", "a.jsonl", status=None)
    drain()

    assert home.names("done") == ["a.jsonl"]


def test_a_start_beside_an_open_job_adds_no_record(home, drain):
    drain()
    before = journal(home)

    drain()

    assert journal(home) == before


def test_a_kill_while_a_jobs_journal_was_made_leaves_no_temporary_file(home, drain):
    (home.state / "jobs" / ".resumed-0123456789abcdef").write_bytes(b'{"n":1')

    drain()

    assert not list((home.state / "jobs").glob(".resumed-*"))


def test_a_job_does_not_fail_because_no_folder_can_be_made_for_it(home, drain, ctl, opened):
    for each in opened.iterdir():
        each.rmdir()
    opened.rmdir()
    opened.touch()

    refused = drain()

    assert refused.returncode == 74, refused.stderr
    assert home.names("failed") == []
    opened.unlink()
    ctl("retry", "a.jsonl", status=None)
    drain()
    assert home.names("done") == ["a.jsonl"]


def test_a_job_that_was_given_up_before_it_was_opened_again_has_failed(home, drain, ctl):
    ctl("cancel", "a.jsonl", status=None)

    drain()

    assert home.names("failed") == ["a.jsonl"]
    (info,) = [json.loads(line) for line in ctl("jobs", "ls", "--json").stdout.splitlines()]
    assert (info["state"], info["error"]["kind"]) == ("failed", "cancelled")
    ctl("jobs", "wait", "a.jsonl", "--seconds", "5", status=1)


def test_a_job_whose_file_was_taken_away_before_it_was_opened_again_is_over(home, drain, ctl):
    (file,) = (home.path / "active").glob("*/a.jsonl")
    file.unlink()
    file.symlink_to("/nowhere")

    drain()

    jobs = [json.loads(line) for line in ctl("jobs", "ls", "--json").stdout.splitlines()]
    assert [each["state"] for each in jobs if each["state"] == "open"] == []
