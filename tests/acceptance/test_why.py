"""Make each situation for real, and let `resumed-ctl why` tell it in one line."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest

HANDLER = """
import time
from pathlib import Path
from resumed import TransientError

GO = Path(__file__).parent / "go"

def process(item):
    if item.name.startswith("bad"):
        raise ValueError("of no use")
    if item.name.startswith("later"):
        raise TransientError("not today")
    if item.name.startswith("slow"):
        item.step("watermark", wait)

def wait():
    while not GO.exists():
        time.sleep(0.01)
"""
# A user namespace in which nobody may have an inotify instance; runs what follows, or `true`.
DEAF_SCRIPT = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "${@:-true}"'
DEAF = ["unshare", "--user", "--map-root-user", "sh", "-c", DEAF_SCRIPT, "sh"]
SETTINGS = 'handler = "handler:process"\nsettle = 0\n[retry]\ninitial = "1h"\njitter = 0\n'


@pytest.fixture
def why(ctl):
    def ask(*files, status=0):
        said = ctl("why", *map(str, files), "--json", status=status).stdout
        assert said.isascii()
        answers = [json.loads(line) for line in said.splitlines()]
        assert len(ctl("why", *map(str, files), status=status).stdout.splitlines()) == len(answers)
        return answers

    return ask


@pytest.fixture
def told(why):
    """Ask about one file; return the verdict and the sentence."""

    def ask(file, status=0):
        [answer] = why(file, status=status)
        return answer["verdict"], answer["sentence"]

    return ask


@pytest.fixture
def running(home, daemon):
    home.configure(SETTINGS, handler=HANDLER)
    return daemon()


def test_what_was_never_seen_is_not_in_the_inbox(home, told):
    verdict, sentence = told(home.path / "resumed.toml", status=1)

    assert verdict == "unknown"
    assert "not in the inbox" in sentence


def test_an_ignored_name_is_told_with_its_rule(home, told):
    home.configure('handler = "handler:process"\nmatch = ["*.txt"]\n')
    (home.inbox / "a.part").touch()
    (home.inbox / "a.jpg").touch()

    assert told("a.part") == ("ignored", 'ignored because of ignore "*.part"')
    assert told(home.inbox / "a.jpg") == ("ignored", 'ignored because of match = ["*.txt"]')


@pytest.mark.parametrize("recursive", [False, True])
def test_a_file_in_a_subfolder_is_taken_only_if_that_is_wanted(home, told, recursive):
    home.configure(f'handler = "handler:process"\nrecursive = {str(recursive).lower()}\n')
    (home.inbox / "sub").mkdir()
    (home.inbox / "sub" / "a.txt").touch()

    verdict, _ = told(home.inbox / "sub" / "a.txt")

    assert (verdict == "ignored") != recursive


def test_a_writer_is_named_with_its_process_and_program(home, told):
    with (home.inbox / "a.txt").open("w"):
        verdict, sentence = told("a.txt")

    assert verdict == "open for writing"
    assert re.search(rf"by process {os.getpid()} \(.+\)", sentence)


@pytest.mark.usefixtures("wait_until")
def test_a_file_that_still_settles_says_how_long_it_was_quiet(home, told):
    home.configure('handler = "handler:process"\nsettle = "1h"\n')
    (home.inbox / "a.txt").write_text("text")

    verdict, sentence = told("a.txt")

    assert verdict == "settling"
    assert re.fullmatch(r"quiet for \d+\.\d of 3600 s", sentence)


@pytest.mark.skipif(os.geteuid() != 0, reason="the daemon of the test is another user")
def test_a_file_that_the_daemons_user_may_not_read_is_unreadable(home, told):
    (home.inbox / "a.txt").write_text("text")
    (home.inbox / "a.txt").chmod(0o600)
    (home.state / "lock").touch()
    os.chown(home.state / "lock", 12345, 12345)

    verdict, sentence = told("a.txt")

    assert (verdict, sentence) == ("unreadable", "unreadable: its mode keeps user 12345 out")


def test_a_missing_marker_is_named(home, told):
    home.configure('handler = "handler:process"\nmarker = "{name}.ok"\n')
    (home.inbox / "a.txt").write_text("text")

    assert told("a.txt") == ("no marker", "waits for its marker a.txt.ok")


def test_what_is_no_regular_file_is_left_alone(home, told, monkeypatch):
    (home.inbox / "folder").mkdir()
    (home.inbox / "link").symlink_to("/etc/passwd")
    os.mkfifo(home.inbox / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(home.inbox)  # its path is too long for a socket's address
        listening.bind("socket")
        monkeypatch.undo()

    for kind, name in (("folder",) * 2, ("symlink", "link"), ("fifo",) * 2, ("socket",) * 2):
        assert told(name) == ("left alone", f"is a {kind}, which is never taken")


def test_without_a_daemon_that_is_the_reason(home, running, told):
    (home.inbox / "slow").write_text("text")
    running.kill()
    (home.inbox / "a.txt").write_text("text")

    verdict, sentence = told("a.txt")

    assert verdict == "daemon down"
    assert re.match(r"the daemon is not running, since \d\d:\d\d:\d\d", sentence)


def test_a_daemon_that_was_stopped_is_down_since_then(home, running, told):
    os.utime(home.state / "lock", (1, 1))
    running.stop()
    (home.inbox / "a.txt").write_text("text")

    verdict, sentence = told("a.txt")

    assert verdict == "daemon down"
    assert "1970" not in sentence


def test_a_daemon_that_hangs_is_the_reason(home, running, told):
    running.signal(signal.SIGSTOP)
    os.utime(home.state / "lock", (1, 1))
    (home.inbox / "a.txt").write_text("text")

    verdict, _ = told("a.txt")

    running.signal(signal.SIGCONT)
    assert verdict == "daemon hung"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_daemon_that_hangs_is_known_soon_after_a_watchdog_would_know(
    home, running, told, wait_until
):
    running.signal(signal.SIGSTOP)
    (home.inbox / "a.txt").write_text("text")

    assert told("a.txt")[0] == "ready"
    wait_until(lambda: told("a.txt")[0] == "daemon hung", 100)

    running.signal(signal.SIGCONT)
    wait_until((home.done / "a.txt").exists)


def test_a_daemon_that_stops_is_the_reason_until_what_runs_has_ended(
    home, running, told, ctl, wait_until
):
    (home.inbox / "slow").write_text("text")
    wait_until(lambda: told("slow")[0] == "running")
    running.signal(signal.SIGTERM)
    (home.inbox / "comes").write_text("text")
    wait_until(lambda: told("comes")[0] == "stopping")

    status, health = ctl("status").stdout, ctl("health", status=1).stdout
    document = json.loads(ctl("status", "--json").stdout)
    verdict, sentence = told("slow")

    (home.path / "go").touch()
    assert running.wait() == 0
    assert status.startswith("health   stopping: it takes nothing new\n")
    assert (document["daemon"]["stopping"], document["healthy"]) == (True, False)
    assert "the daemon is stopping" in health
    assert verdict == "running"
    assert "stopping" not in sentence
    assert told("comes")[0] == "daemon down"


@pytest.mark.usefixtures("running")
def test_a_pause_is_the_reason_and_its_end_is_named(home, ctl, why):
    ctl("pause")
    (home.inbox / "a.txt").write_text("text")

    [answer] = why("a.txt")

    assert answer["verdict"] == "paused"
    assert answer["do"].endswith("unpause'")


def test_a_disk_below_the_reserve_is_the_reason(home, daemon, told):
    home.configure(SETTINGS.replace("settle", 'reserve = "10000T"\nsettle'), handler=HANDLER)
    daemon()
    (home.inbox / "a.txt").write_text("text")

    verdict, sentence = told("a.txt")

    assert verdict in ("disk full", "intake paused")
    assert "intake paused" in sentence


def test_a_required_path_that_is_missing_is_the_reason(home, daemon, told):
    home.configure(SETTINGS.replace("settle", 'require = ["/no/mount"]\nsettle'), handler=HANDLER)
    daemon()
    (home.inbox / "a.txt").write_text("text")

    verdict, sentence = told("a.txt")

    assert verdict == "intake paused"
    assert "/no/mount" in sentence


@pytest.mark.usefixtures("running")
def test_a_waiting_item_says_when_and_which_attempt(home, told, wait_until):
    (home.inbox / "later").write_text("text")
    wait_until(lambda: home.records("waiting"))

    verdict, sentence = told("later")

    assert verdict == "waiting"
    assert re.match(r"waiting: attempt 2 of 5 at .*\d\d:\d\d:\d\d, TransientError: not", sentence)


@pytest.mark.usefixtures("running")
def test_a_running_item_says_how_long_in_which_step_and_worker(home, told, wait_until):
    (home.inbox / "slow").write_text("text")
    wait_until(lambda: "in step" in told("slow")[1])

    verdict, sentence = told("slow")

    assert verdict == "running"
    assert re.match(r"running for \d+s in step watermark.* \(worker \d+\), attempt 1", sentence)


@pytest.mark.usefixtures("running")
def test_what_waits_for_a_worker_says_so(home, told, wait_until):
    (home.inbox / "slow").write_text("text")
    wait_until(lambda: home.records("started"))
    (home.inbox / "next").write_text("text")
    wait_until(lambda: len(home.records("claimed")) == 2)

    assert told("next") == ("pending", "taken, and waits for a worker; 0 before it")


@pytest.mark.usefixtures("running")
def test_items_of_one_name_wait_for_each_other_and_say_so(home, told, why, wait_until):
    (home.inbox / "later").write_text("text")
    wait_until(lambda: home.records("waiting"))
    (home.inbox / "later").write_text("again")
    wait_until(lambda: len(home.records("claimed")) == 2)

    assert [each["verdict"] for each in why("later")] == ["waiting", "pending"]
    first, second = (each["id"] for each in home.records("claimed"))
    assert told(second) == ("pending", f"waits for the item of its name before it, {first}")


@pytest.mark.usefixtures("running")
def test_held_failed_and_done_items_say_so(home, ctl, told, why, wait_until):
    for name in ("later", "bad", "good"):
        (home.inbox / name).write_text("text")
    wait_until(lambda: home.records("waiting") and home.names("done") == ["good"])
    wait_until(lambda: home.names("failed") == ["bad"])
    ctl("hold", "later")

    assert told("later")[0] == "held"
    assert "ValueError: of no use" in told("bad")[1]
    assert told(home.failed / "bad")[0] == "failed"
    assert told("good")[0] == told(home.done / "good")[0] == "done"
    assert "retry" in why("bad")[0]["do"]


@pytest.mark.skipif(subprocess.call(DEAF) != 0, reason="no user namespaces here")
def test_where_the_kernel_tells_of_no_changes_the_next_scan_is_named(home, daemon, told):
    home.configure('rescan = "1h"\n' + SETTINGS, handler=HANDLER)
    daemon.wrapper = DEAF
    running = daemon()
    (home.inbox / "a.txt").write_text("text")

    verdict, sentence = told("a.txt")

    assert verdict == "next scan", running.tail()
    assert re.search(r"tells of no changes: next scan in (59min|1h)", sentence)


def test_a_ready_file_says_when_it_is_taken_at_the_latest(home, running, told):
    running.signal(signal.SIGSTOP)
    (home.inbox / "a.txt").write_text("text")

    answer = told("a.txt")

    running.signal(signal.SIGCONT)
    assert answer == ("ready", "ready: it is taken next, in 1min at the latest")


@pytest.mark.usefixtures("running")
def test_an_item_and_a_new_file_of_its_name_both_answer(home, ctl, why, wait_until):
    (home.inbox / "later").write_text("text")
    wait_until(lambda: home.records("waiting"))
    ctl("pause")
    (home.inbox / "later").write_text("again")

    assert [each["verdict"] for each in why("later")] == ["paused", "waiting"]


def test_between_two_drains_nobody_misses_a_daemon(home, told, drain, ctl):
    home.configure(SETTINGS, handler=HANDLER)
    (home.inbox / "first").touch()
    assert drain().returncode == 0
    (home.inbox / "second").touch()

    verdict, sentence = told(home.inbox / "second")

    assert verdict == "next drain"
    assert "the last drain ended at" in sentence
    assert "none; the last drain ended at" in ctl("status").stdout
    assert ctl("health").stdout.startswith("RESUMED OK")


def test_a_daemon_that_was_killed_is_missed_although_a_drain_ran_before(home, told, drain, daemon):
    home.configure(SETTINGS, handler=HANDLER)
    assert drain().returncode == 0
    daemon().kill()
    (home.inbox / "second").touch()

    assert told(home.inbox / "second")[0] == "daemon down"


def test_a_drain_that_had_no_space_did_not_end_well(home, drain, ctl):
    home.configure(SETTINGS.replace("settle", 'reserve = "10000T"\nsettle'), handler=HANDLER)
    (home.inbox / "a.txt").touch()
    drain()

    assert "RESUMED CRITICAL" in ctl("health", status=2).stdout
