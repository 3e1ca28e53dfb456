import os
import time

import pytest

from resumed import hooks
from resumed.hooks import AT_ONCE, WAITING, Hooks
from resumed.settings import Command


@pytest.fixture
def told():
    return []


@pytest.fixture
def made(told):
    made = Hooks(lambda event, **fields: told.append((event, fields)))
    yield made
    made.close()


def turn_until(made, condition, wait_until):
    wait_until(lambda: made.turn(time.monotonic()) or condition())


def test_a_command_is_told_in_its_arguments_and_its_environment(made, tmp_path, wait_until):
    out = tmp_path / "out"
    program = 'printf "%s %s %s" "$1" "$RESUMED_NAME" "${NOTIFY_SOCKET-none}" > "$2"'
    argv = ("sh", "-c", program, "sh", "{name}", str(out))

    made.call("on_failure", Command(argv), {"name": "a; rm -rf b"})
    turn_until(made, lambda: out.exists() and out.read_text(), wait_until)

    assert out.read_text() == "a; rm -rf b a; rm -rf b none"


def test_whatever_an_error_quotes_reaches_the_command(made, tmp_path, wait_until):
    """A handler's words may hold any byte of a dropped file; arguments may not."""
    out = tmp_path / "out"
    argv = ("sh", "-c", 'printf "%s|%s" "$1" "$RESUMED_ERROR" > "$2"', "sh", "{error}", str(out))

    made.call("on_failure", Command(argv), {"error": "a\0b \udc80 é"})
    turn_until(made, lambda: out.exists() and out.read_bytes(), wait_until)
    once, twice = out.read_bytes().split(b"|")
    out.unlink()
    made.call("on_failure", Command(argv), {"error": "half a pair: \ud800"})
    turn_until(made, lambda: out.exists() and out.read_bytes(), wait_until)

    assert once == twice == b"a\\x00b \x80 " + "é".encode()
    assert out.read_text() == "half a pair: \\ud800|half a pair: \\ud800"


def test_a_command_that_fails_or_is_missing_is_told_of(made, told, wait_until):
    made.call("on_alarm", Command(("false",)), {})
    made.call("on_alarm", Command(("/does/not/exist",)), {})

    turn_until(made, lambda: len(told) == 2, wait_until)

    whys = {fields["why"] for _, fields in told}
    assert whys == {"ended with status 1", "/does/not/exist: No such file or directory"}


def test_a_command_is_ended_when_it_takes_too_long(made, told, monkeypatch, wait_until):
    monkeypatch.setattr(hooks, "SECONDS", 0.05)
    made.call("on_failure", Command(("sh", "-c", "sleep 100 & sleep 100")), {})
    made.turn(time.monotonic())
    (pid,) = made.pids()

    turn_until(made, lambda: told, wait_until)

    assert told[0][1]["why"] == "still ran after 0.05 s"
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    assert not made.pids()


def test_at_the_end_what_was_called_runs_if_that_takes_little_time(made, tmp_path):
    for number in range(2 * AT_ONCE):
        made.call("on_failure", Command(("touch", str(tmp_path / f"{number}"))), {})

    made.close()

    assert len(list(tmp_path.iterdir())) == 2 * AT_ONCE
    assert not made.busy


def test_at_the_end_what_hangs_is_ended(made, monkeypatch):
    monkeypatch.setattr(hooks, "LAST_SECONDS", 0.05)
    made.call("on_failure", Command(("sleep", "100")), {})
    made.turn(time.monotonic())
    (pid,) = made.pids()

    made.close()

    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_few_run_at_a_time_and_too_many_are_dropped(made, told, monkeypatch):
    monkeypatch.setattr(hooks, "LAST_SECONDS", 0.0)
    for _ in range(WAITING + 1):
        made.call("on_failure", Command(("sleep", "100")), {})

    assert made.due() == 0.0
    made.turn(1.0)

    assert len(made.pids()) == AT_ONCE
    assert told == [("hook_failed", {"hook": "on_failure", "why": "too many are waiting"})]
    assert made.due() == pytest.approx(1.0 + hooks.LOOK_SECONDS)


def test_nothing_is_due_when_nothing_is_called(made):
    assert made.due() is None
