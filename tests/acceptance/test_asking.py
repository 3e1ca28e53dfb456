"""Ask a real daemon for changes by `resumed-ctl`, and see that it answers."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from resumed import asking, place

HANDLER = """
import os, time
from pathlib import Path
from resumed import TransientError

CALM = Path(__file__).parent / "calm"

def process(item):
    if CALM.exists():
        return "calm"
    if item.name.startswith("bad"):
        raise ValueError("bad: " + item.name)
    if item.name.startswith("later"):
        raise TransientError("later")
    if item.name.startswith("slow"):
        item.step("look", abs, -1)
        item.progress(1, 4)
        item.step("sleep", wait)

def wait():
    while not CALM.exists():
        time.sleep(0.01)
"""
ONE_RETRY = """
handler = "handler:process"
settle = 0
[retry]
initial = "1s"
jitter = 0
"""
FINE_AT_LAST = """
import os
from pathlib import Path
from resumed import TransientError

def process(item):
    (Path(__file__).parent / "worker").write_text(str(os.getpid()))
    if item.attempt == 1:
        raise TransientError("not yet")
"""


@pytest.fixture
def running(home, daemon):
    home.configure(
        'handler = "handler:process"\nsettle = 0\nworkers = 2\n'
        '[retry]\ninitial = "1h"\njitter = 0\n',
        handler=HANDLER,
    )
    return daemon()


def documents(said):
    assert said.stdout.isascii()
    return [json.loads(line) for line in said.stdout.splitlines()]


@pytest.mark.usefixtures("running")
def test_a_retry_is_answered_and_takes_the_item_up_again(home, ctl, wait_until):
    (home.inbox / "bad.txt").write_text("text")
    wait_until(lambda: home.names("failed") == ["bad.txt"])
    (home.path / "calm").touch()

    said = ctl("retry", "bad.txt")

    assert said.stdout == "bad.txt: taken up again\n"
    wait_until(lambda: home.names("done") == ["bad.txt"])
    [story] = documents(ctl("show", "bad.txt", "--json"))
    kinds = [each["kind"] for each in story["story"]]
    assert kinds.count("started") == 2
    assert kinds[-2:] == ["done", "put_away"]


@pytest.mark.usefixtures("running")
def test_of_retries_that_race_one_starts_an_attempt(home, wait_until):
    (home.inbox / "bad.txt").write_text("text")
    wait_until(lambda: home.names("failed") == ["bad.txt"])
    (home.path / "calm").touch()
    command = [sys.executable, "-m", "resumed.ctl", "--home", str(home.path), "retry", "bad.txt"]

    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    (home.failed / "bad.txt").rename(home.inbox / "bad.txt")

    said = [each.communicate(timeout=30)[0] for each in racing]
    wait_until(lambda: home.names("done") == ["bad.txt"])
    assert [each["attempt"] for each in home.records("started")] == [1, 2], said
    assert len(home.records("done")) == 1
    assert home.names("failed") == home.names("inbox") == []


@pytest.mark.usefixtures("running")
def test_all_failures_are_retried_at_once(home, ctl, wait_until):
    for number in range(20):
        (home.inbox / f"bad-{number}").write_text("text")
    wait_until(lambda: len(documents(ctl("failures", "--json"))) == 20)
    (home.path / "calm").touch()

    assert len(ctl("retry", "--all").stdout.splitlines()) == 20

    wait_until(lambda: len(home.names("done")) == 20)
    assert ctl("failures").stdout == ""
    assert ctl("retry", "--all").stdout == "nothing to retry\n"


@pytest.mark.usefixtures("running")
def test_a_waiting_item_is_held_released_and_removed(home, ctl, wait_until):
    (home.inbox / "later.txt").write_text("text")
    wait_until(lambda: home.records("waiting"))

    assert "held" in ctl("hold", "later.txt").stdout
    wait_until(lambda: home.names("hold") == ["later.txt"])
    assert "released" in ctl("release", "later.txt").stdout
    wait_until(lambda: len(home.records("waiting")) == 2)
    ctl("hold", "later.txt")
    [answer] = documents(ctl("remove", "later.txt", "--yes", "--json"))

    assert answer["ok"], answer
    assert not home.names("hold")
    assert documents(ctl("ls", "--json")) == []


@pytest.mark.usefixtures("running")
def test_while_it_is_paused_nothing_new_is_taken(home, ctl, wait_until):
    ctl("pause")
    (home.inbox / "new.txt").write_text("text")

    assert "paused" in ctl("status").stdout
    (home.path / "calm").touch()
    ctl("reload")
    assert home.names("inbox") == ["new.txt"]

    ctl("unpause")
    wait_until(lambda: home.names("done") == ["new.txt"])


@pytest.mark.usefixtures("running")
def test_status_tells_which_step_a_running_item_is_in(home, ctl, wait_until):
    (home.inbox / "slow.txt").write_text("text")

    def step():
        [told] = documents(ctl("status", "--json"))
        return [each.get("step") for each in told["running"]]

    wait_until(lambda: step() == ["sleep"])
    [told] = documents(ctl("status", "--json"))

    assert told["daemon"]["state"] == "up"
    assert told["healthy"]
    assert "in step sleep" in ctl("status").stdout


def test_a_request_that_nobody_hears_is_done_by_the_next_start(
    home, running, daemon, ctl, wait_until
):
    (home.inbox / "bad.txt").write_text("text")
    wait_until(lambda: home.names("failed") == ["bad.txt"])
    running.kill()
    (home.path / "calm").touch()

    assert "next start or drain" in ctl("retry", "bad.txt").stdout

    daemon()
    wait_until(lambda: home.names("done") == ["bad.txt"])


def test_a_daemon_that_hangs_is_said_to_hang(home, running, ctl):
    running.signal(signal.SIGSTOP)
    os.utime(home.state / "lock", (1, 1))

    said, asked = ctl("status"), ctl("pause")

    running.signal(signal.SIGCONT)
    assert "hangs: its loop has not turned for" in said.stdout
    assert "the daemon hangs" in asked.stdout


def test_status_after_a_kill_says_that_it_is_down(running, ctl):
    running.kill()

    assert "not running since" in ctl("status").stdout


@pytest.mark.usefixtures("running")
def test_followed_lines_come_as_they_are_written(home, wait_until):
    program = [sys.executable, "-m", "resumed.ctl", "--home", str(home.path)]
    out = home.path / "followed"
    with out.open("wb") as file:
        follower = subprocess.Popen([*program, "journal", "cat", "--follow"], stdout=file)
    try:
        (home.inbox / "a.txt").write_text("text")
        wait_until(lambda: b'"done"' in out.read_bytes())
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130
    assert home.journal.read_bytes().startswith(out.read_bytes())


@pytest.mark.usefixtures("running")
def test_a_followed_log_tells_of_items_as_they_go(home, ctl, wait_until):
    program = [sys.executable, "-u", "-m", "resumed.ctl", "--home", str(home.path)]
    out = home.path / "followed"
    with out.open("wb") as file:
        follower = subprocess.Popen([*program, "log", "-f", "a*"], stdout=file)
    try:
        (home.path / "a.txt").write_text("text")
        ctl("put", str(home.path / "a.txt"))
        (home.inbox / "b.txt").write_text("text")
        wait_until(lambda: "a.txt: put away as a.txt" in out.read_text())
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait(10)
    lines = out.read_text().splitlines()
    assert len(lines) == len(set(lines))
    assert all("a.txt: " in line for line in lines)


def test_looking_while_the_journal_grows_and_is_rewritten_never_fails(
    home, running, ctl, wait_until
):
    (home.path / "calm").touch()
    for number in range(600):
        (home.inbox / f"{number:03}").write_text("text")

    seen = []
    while len(home.names("done")) < 600:
        seen += documents(ctl("status", "--json"))
        assert running.process.poll() is None

    assert [told["ever"].get("done", 0) for told in seen] == sorted(
        told["ever"].get("done", 0) for told in seen
    )
    wait_until(lambda: documents(ctl("status", "--json"))[0]["ever"] == {"done": 600})


def test_what_a_worker_was_sent_already_is_not_given_out_twice(home, daemon, ctl, wait_until):
    """The retry of an item whose time had come, but that had not begun, made it run twice."""
    home.configure(ONE_RETRY, handler=FINE_AT_LAST)
    running = daemon()
    (home.inbox / "a").write_text("text")
    wait_until(lambda: home.records("waiting"))
    worker = int((home.path / "worker").read_text())
    os.kill(worker, signal.SIGSTOP)
    due = time.time() + 2
    wait_until(lambda: time.time() > due)

    refused = ctl("retry", "--fresh", "a", status=1)
    told = ctl("retry", "a")
    os.kill(worker, signal.SIGCONT)

    wait_until(lambda: home.records("put_away"), what=running.tail)
    assert "about to run" in refused.stdout
    assert told.stdout == "a: is tried next\n"
    assert running.stop() == 0
    assert [each["attempt"] for each in home.records("started")] == [1, 2]


def test_each_of_many_reloads_is_answered(home, daemon):
    """A worker that left had closed its pipe, and then took the number of it from another."""
    home.configure('handler = "handler:process"\nworkers = 2\n')
    running = daemon()

    paths = place.find(home=home.path)
    answers = [asking.ask(paths, "reload", patience_seconds=15)[0] for _ in range(12)]

    assert {each.lines for each in answers} == {("reloaded",)}, running.tail()
