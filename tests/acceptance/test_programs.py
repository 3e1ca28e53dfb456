"""The programs themselves: their exit statuses, and what a person reads."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

FAIL = "def process(item):\n    raise ValueError(item.name)\n"
LATER = (
    "from resumed import TransientError\n\n"
    "def process(item):\n    raise TransientError(item.name)\n"
)


@pytest.fixture
def resumed():
    def run(*arguments, **environ):
        return subprocess.run(
            [sys.executable, "-m", "resumed.cli", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | environ,
        )

    return run


def test_a_home_that_was_begun_works_at_once(resumed, tmp_path):
    begun = resumed("init", tmp_path / "home")
    checked = resumed("check", "--home", tmp_path / "home")
    (tmp_path / "home/inbox/a").write_text("one\ntwo\n")
    drained = resumed("drain", "--home", tmp_path / "home", "--strict")

    assert [each.returncode for each in (begun, checked, drained)] == [0, 0, 0], drained.stderr
    assert checked.stdout == f"{tmp_path}/home/resumed.toml: fine\n"
    assert drained.stdout == drained.stderr == ""
    assert (tmp_path / "home/done/a").exists()


def test_a_home_is_begun_once(resumed, tmp_path):
    resumed("init", tmp_path)
    (tmp_path / "handler.py").write_text("mine")

    again = resumed("init", tmp_path)

    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert (tmp_path / "handler.py").read_text() == "mine"


def test_check_tells_all_mistakes_with_their_lines(resumed, home):
    home.configure('handler = "handler:process"\nwrokers = 2\ntimeout = "soon"\n')

    checked = resumed("check", "--home", home.path)

    assert checked.returncode == 78
    assert f"{home.path}/resumed.toml:2: " in checked.stderr
    assert "workers" in checked.stderr
    assert f"{home.path}/resumed.toml:3: " in checked.stderr


def test_check_tries_the_handler_and_the_folders(resumed, home):
    home.configure('handler = "handler:process"\n', handler="import nothing_of_that_name\n")
    home.hold.rmdir()
    home.state.chmod(0o777)

    checked = resumed("check", "--home", home.path)

    assert checked.returncode == 78
    assert "nothing_of_that_name" in checked.stderr
    assert f"{home.hold}: no such file or directory: make it, or mend [paths]\n" in checked.stderr
    assert "chmod o-w" in checked.stderr
    assert "resumed check" not in checked.stderr


def test_check_says_at_once_that_an_import_ends_the_process(resumed, home):
    exceptions = '[retry]\nretry_on = ["handler.Busy"]\n'
    home.configure(f'handler = "handler:process"\n{exceptions}', handler="import os; os._exit(5)\n")

    checked = resumed("check", "--home", home.path)

    assert checked.returncode == 78
    assert "the handler: its import ended the process: exit 5\n" in checked.stderr
    assert "'handler.Busy': its import ended the process with status 5\n" in checked.stderr


def test_check_looks_for_the_programs(resumed, home):
    home.configure('command = ["no-such-program", "{path}"]\non_failure = ["/no/such/hook"]\n')

    checked = resumed("check", "--home", home.path)

    assert checked.returncode == 78
    assert "command: no program 'no-such-program'; install it" in checked.stderr
    assert "on_failure: no program '/no/such/hook'; install it" in checked.stderr


def test_check_says_in_which_line_a_program_or_an_exception_is_missing(resumed, home):
    home.configure(
        """\
on_alarm = ["/no/such/hook"]
[retry]
retry_on = ["mine.Busy", "mine.Bussy", "json.JSONDecodeError", "no_such.Error", "mine.word"]
[job]
match = ["*.csv"]
reduce = ["no-such-sum"]
fail_job_on = ["mine.Wrong", "OSError"]
[[steps]]
name = "one"
command = ["true"]
[[steps]]
name = "two"
command = ["no-such-program"]
"""
    )
    (home.path / "mine.py").write_text("print('hello')\nclass Busy(Exception): ...\nword = 1\n")

    checked = resumed("check", "--home", home.path)

    assert checked.returncode == 78
    lines = [line.partition("resumed.toml:") for line in checked.stderr.splitlines()]
    assert sorted(told for _, found, told in lines if found) == [
        "13: two: no program 'no-such-program'; install it, or name its path",
        "1: on_alarm: no program '/no/such/hook'; install it, or name its path",
        "3: retry.retry_on has 'mine.Bussy': mine has no 'Bussy'",
        "3: retry.retry_on has 'mine.word': is no exception",
        "3: retry.retry_on has 'no_such.Error': there is no module 'no_such'",
        "6: job.reduce: no program 'no-such-sum'; install it, or name its path",
        "7: job.fail_job_on has 'mine.Wrong': mine has no 'Wrong'",
    ]


def test_a_drain_ends_after_the_commands_that_tell_of_its_failures(home, drain):
    hook = f"sleep 1; echo $0 >> {home.path}/told"
    home.configure(
        'handler = "handler:process"\nsettle = 0\n'
        f'on_failure = ["sh", "-c", "{hook}", "{{path}}"]\n',
        handler=FAIL,
    )
    for name in "ab":
        (home.inbox / name).touch()

    drained = drain()

    assert drained.returncode == 1
    told = (home.path / "told").read_text().splitlines()
    assert sorted(told) == [f"{home.failed}/a", f"{home.failed}/b"]


def test_check_says_when_an_instance_is_at_work(resumed, home, daemon):
    home.active.chmod(0o700)
    daemon()

    checked = resumed("check", "--home", home.path)

    assert checked.returncode == 0
    assert "at work here" in checked.stdout


def test_a_drain_that_meets_another_instance_gives_cron_nothing_to_mail(home, daemon, drain):
    daemon()
    (home.inbox / "a").write_text("text")

    drained = drain()

    assert (drained.returncode, drained.stdout, drained.stderr) == (75, "", "")


def test_a_drain_that_meets_an_instance_which_hangs_says_so(home, daemon, drain):
    running = daemon()
    running.signal(signal.SIGSTOP)
    os.utime(home.state / "lock", (0, 0))

    drained = drain()

    assert drained.returncode == 75
    assert "another instance is at work here" in drained.stderr


def test_on_a_terminal_a_drain_says_that_it_met_another_instance(home, daemon):
    daemon()
    person, terminal = pty.openpty()

    drained = subprocess.run(
        [sys.executable, "-m", "resumed.cli", "drain", "--home", home.path],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        timeout=60,
        check=False,
    )

    os.close(terminal)
    assert drained.returncode == 75
    assert b"another instance is at work here" in os.read(person, 1000)
    os.close(person)


def test_check_takes_no_lock_and_leaves_none_behind(resumed, home):
    """To try a lock by taking it would end a daemon that starts at that very moment."""
    home.active.chmod(0o700)

    checked = resumed("check", "--home", home.path)

    assert checked.returncode == 0, checked.stderr
    assert not (home.state / "lock").exists()
    assert not (home.active / ".lock").exists()


def test_check_without_a_state_folder_says_what_to_do(resumed, home):
    for path in home.state.iterdir():
        path.unlink()
    home.state.rmdir()

    checked = resumed("check", "--home", home.path)

    assert checked.returncode == 78
    assert f"{home.state}: No such file or directory: make the folder" in checked.stderr


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("program", [pytest.param("check", marks=pytest.mark.slow), "drain"])
def test_a_disk_that_is_read_only_is_told_as_what_it_is(home, drain, program):
    drain()
    call = [sys.executable, "-m", "resumed.cli", program, "--home", home.path]
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh"]

    ended = subprocess.run(
        [*alone, home.path, *call], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 78
    assert "mount it for writing" in ended.stderr
    assert "make the folder" not in ended.stderr
    assert "change its owner" not in ended.stderr


def test_nobody_is_missed_after_a_drain_that_ended_well(drain, ctl):
    before = ctl("metrics").stdout
    drain()

    after = ctl("metrics").stdout

    families = {each.name: each for each in text_string_to_metric_families(after)}
    drained = families["resumed_last_drain_timestamp_seconds"].samples[0].value
    assert families["resumed_up"].samples[0].value == 0
    assert abs(drained - time.time()) < 60
    assert "last_drain" not in before
    # The alert needs both: `unless` leaves out what has the second metric.
    rules = Path(__file__, "../../../packaging/prometheus/resumed.rules.yml").resolve()
    assert (
        "expr: resumed_up == 0 unless resumed_last_drain_timestamp_seconds\n" in rules.read_text()
    )


def test_a_drain_with_failures_ends_with_one(home, drain):
    home.configure('handler = "handler:process"\nsettle = 0\n', handler=FAIL)
    (home.inbox / "a").write_text("text")

    drained = drain()

    assert drained.returncode == 1
    assert drained.stdout == "0 done, 1 failed, 0 waiting, 0 not ready\n"


def test_a_drain_does_not_stay_for_what_waits(home, drain):
    home.configure(
        'handler = "handler:process"\nsettle = 0\n[retry]\ninitial = "1h"\n', handler=LATER
    )
    (home.inbox / "a").write_text("text")

    quick, strict = drain(), drain("--strict")

    assert (quick.returncode, strict.returncode) == (0, 4)
    assert quick.stdout == strict.stdout == "0 done, 0 failed, 1 waiting, 0 not ready\n"


@pytest.mark.parametrize(
    "arguments", [(), pytest.param(("--retry-failures",), marks=pytest.mark.slow)]
)
def test_a_drain_waits_for_what_the_probe_says(home, drain, arguments):
    if arguments:
        home.configure('handler = "handler:process"\nsettle = 0\n', handler=FAIL)
    (home.inbox / "a").write_text("text")
    if arguments:
        drain()
    well = 'command = ["true"]\nsettle = 0\nprobe = ["sleep", "0.2"]\n'

    home.configure(well.replace('"sleep", "0.2"', '"false"'))
    refused = drain(*arguments)
    assert home.names("done") == []
    assert "the probe ended with status 1" in refused.stderr

    home.configure(well)
    drain(*arguments)
    assert home.names("done") == ["a"]


@pytest.mark.parametrize("why", [pytest.param("full", marks=pytest.mark.slow), "paused"])
def test_a_strict_drain_does_not_pass_over_what_it_could_not_take(home, drain, ctl, why):
    drain()  # now there is somebody who could be asked
    if why == "full":
        home.configure('handler = "handler:process"\nreserve = "9999999T"\n')
    else:
        ctl("pause")
    (home.inbox / "a").write_text("text")

    quick, strict = drain(), drain("--strict")

    assert (quick.returncode, strict.returncode) == (0, 4)
    assert home.names("inbox") == ["a"]


def test_a_drain_stays_for_what_waits_when_it_is_told_to(home, drain):
    home.configure(
        'handler = "handler:process"\nsettle = 0\n'
        '[retry]\nmax_attempts = 3\ninitial = "300ms"\njitter = 0\n',
        handler=LATER,
    )
    (home.inbox / "a").write_text("text")

    patient = drain("--wait")

    assert patient.returncode == 1
    assert [each["attempt"] for each in home.records("started")] == [1, 2, 3]


@pytest.mark.parametrize("program", ["run", "drain"])
def test_a_worker_that_dies_before_it_has_the_handler_is_replaced(home, daemon, drain, program):
    dies_once = """\
import os, pathlib, signal

before = pathlib.Path(__file__).with_name("before")
if not before.exists():
    before.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def process(item):
    return None
"""
    home.configure('handler = "handler:process"\nsettle = 0\n', handler=dies_once)
    (home.inbox / "a").write_text("text\n")

    if program == "run":
        daemon()
    else:
        assert drain(timeout=20).returncode == 0

    assert (home.path / "before").exists()


@pytest.mark.parametrize("program", ["run", "drain"])
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_handler_whose_import_always_ends_its_process_needs_a_person(
    home, daemon, drain, program, workers
):
    settings = f'handler = "handler:process"\nworkers = {workers}\n'
    home.configure(settings, handler="import os; os._exit(5)\n")
    (home.inbox / "a").write_text("text")

    if program == "run":
        running = daemon.start()
        status = running.wait()
        said = running.tail()
        assert "READY=1" not in running.told()
    else:
        ended = drain()
        status, said = ended.returncode, ended.stderr

    assert status == 78
    assert "the handler cannot be loaded: its import ended the process: exit 5" in said
    assert home.names("inbox") == ["a"]


def test_failures_are_retried_and_counted(home, drain):
    flag = home.path / "flag"
    handler = (
        "import os\n"
        "def process(item):\n"
        f"    if item.name == 'a' and os.path.exists({str(flag)!r}): return\n"
        "    raise ValueError(item.name)\n"
    )
    home.configure('handler = "handler:process"\nsettle = 0\n', handler=handler)
    for name in "ab":
        (home.inbox / name).write_text("text")
    drain()
    flag.touch()
    (home.inbox / "c").write_text("not now")

    again = drain("--retry-failures")

    assert again.returncode == 1
    assert again.stdout == "1 recovered, 1 still failing\n"
    assert home.names("inbox") == ["c"]
    assert home.names("done") == ["a"]
    assert "ValueError: b" in (home.failed / "b.failure.txt").read_text()


def test_failures_that_were_taken_up_and_not_tried_are_counted(home, drain):
    settings = 'handler = "handler:process"\nsettle = 0\n'
    home.configure(settings, handler="def process(item):\n    raise ValueError\n")
    (home.inbox / "a").write_text("text")
    drain()
    home.configure(settings + 'reserve = "900TB"\n')

    again = drain("--retry-failures", "--strict")

    assert again.returncode == 4
    assert again.stdout == "0 recovered, 0 still failing, 1 not tried: the intake is paused\n"


def test_a_configuration_that_is_missing_needs_a_person(resumed, tmp_path):
    ended = resumed("run", "-c", tmp_path / "none.toml")

    assert ended.returncode == 78
    assert f"{tmp_path}/none.toml" in ended.stderr


def test_folders_that_are_missing_need_a_person(resumed, home):
    home.done.rmdir()

    ended = resumed("run", "--home", home.path)

    assert ended.returncode == 78
    assert str(home.done) in ended.stderr


def test_a_damaged_journal_needs_a_person_and_is_left_as_it_is(resumed, home, drain):
    drain()
    damaged = home.journal.read_bytes().replace(b'"opened"', b'"0pened"')
    home.journal.write_bytes(damaged)

    ended = resumed("run", "--home", home.path)

    assert ended.returncode == 78
    assert "journal check" in ended.stderr
    assert home.journal.read_bytes() == damaged


def test_a_journal_that_vanished_is_no_first_start(resumed, home, drain):
    drain()
    home.journal.unlink()

    ended = resumed("run", "--home", home.path)

    assert ended.returncode == 78
    assert "is missing" in ended.stderr


def test_a_wrong_option_is_a_matter_of_usage(resumed):
    assert resumed("run", "--speed").returncode == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_log_that_cannot_be_written_stops_nothing(home):
    (home.inbox / "a").write_text("text")
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "resumed.cli", "drain", "--home", home.path],
            stdout=subprocess.DEVNULL,
            stderr=full,
            timeout=60,
            check=False,
        )

    assert ended.returncode == 0
    assert home.names("done") == ["a"]


def test_two_signals_interrupt_at_once(home, daemon, wait_until):
    home.configure(
        'handler = "handler:process"\nsettle = 0\n',
        handler="import time\ndef process(item):\n    time.sleep(60)\n",
    )
    running = daemon()
    (home.inbox / "a").write_text("text")
    wait_until(lambda: home.records("started"))

    running.signal(signal.SIGTERM)
    wait_until(lambda: "STOPPING=1" in running.told())
    running.signal(signal.SIGINT)

    assert running.wait(20) == 0
    assert home.records("interrupted")
    assert not home.records("failed")
    assert any(each.startswith("EXTEND_TIMEOUT_USEC=") for each in running.told())


@pytest.mark.usefixtures("untraced")
def test_files_that_come_while_the_daemon_is_frozen_are_all_processed(home, daemon, wait_until):
    count = 6_000  # of each the kernel tells three times: made, closed, renamed
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    home.configure('handler = "handler:process"\nsettle = 0\nworkers = 2\nrescan = "5s"\n')
    running = daemon()
    running.signal(signal.SIGSTOP)
    for number in range(count):
        with open(home.inbox / f"{number}.tmp", "w") as file:
            file.write("x")
        os.rename(home.inbox / f"{number}.tmp", home.inbox / f"{number}.txt")
    running.signal(signal.SIGCONT)

    assert 3 * count > limit
    wait_until(lambda: len(os.listdir(home.done)) == count, 100)
    assert not os.listdir(home.inbox)
    assert running.stop() == 0
    lines = [*home.journal.read_bytes().splitlines()]
    for path in (home.state / "history").iterdir():
        lines += path.read_bytes().splitlines()
    done = [line for line in lines if b'"kind":"done"' in line and b'"retold"' not in line]
    assert len(done) == count
