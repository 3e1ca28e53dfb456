import contextlib
import errno
import os
import signal
import threading
import time

import pytest

from resumed import command, orphans
from resumed.command import Ended, MissingError
from resumed.policy import Interrupted


def run(*argv, feed=b"", keep_bytes=1000, environ=None):
    return command.run(
        list(argv),
        os.environ if environ is None else environ,
        feed=feed,
        keep_bytes=keep_bytes,
        starting=threading.Lock(),
    )


def inheritable(fd):
    with contextlib.suppress(OSError):
        return os.get_inheritable(fd)
    return False


@pytest.fixture(autouse=True)
def tidy():
    orphans.adopt()
    yield
    orphans.kill_all()


@pytest.mark.parametrize("status", [0, 1, 75, 127, 255])
def test_a_command_ends_with_its_status(status):
    assert run("sh", "-c", f"exit {status}") == Ended(status, b"", cut=False)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_or_with_its_signal(number):
    assert run("sh", "-c", f"kill -{number} $$").status == -number


def test_what_it_prints_is_kept_up_to_a_limit():
    assert run("sh", "-c", "echo a; sleep 0.05; echo b").output == b"a\nb\n"
    assert run("sh", "-c", "yes | head -c 1000") == Ended(0, b"y\n" * 500, cut=False)
    assert run("sh", "-c", "yes | head -c 300000") == Ended(0, b"y\n" * 500, cut=True)


def test_arguments_are_whole_whatever_is_in_them():
    assert run("printf", "%s", "a b\n$(c)").output == b"a b\n$(c)"
    assert run("printf", "%s", "\udcff").output == b"\xff"


def test_it_reads_what_it_is_fed_or_need_not():
    big = b"x" * 1_000_000

    assert run("wc", "-c", feed=big).output.strip() == b"1000000"
    assert run("true", feed=big).status == 0
    assert run("cat").output == b""


def test_it_is_over_although_a_child_holds_its_output():
    began = time.monotonic()

    ended = run("sh", "-c", "echo a; sleep 1000 &")

    assert ended == Ended(0, b"a\n", cut=False)
    assert time.monotonic() - began < 100


def test_it_goes_on_when_it_has_closed_its_output():
    assert run("sh", "-c", "echo a; exec >&-; sleep 0.1; exit 3") == Ended(3, b"a\n", cut=False)


def test_a_child_that_prints_for_ever_does_not_keep_it():
    ended = run("sh", "-c", "yes & exit 4")

    assert ended.status == 4


def test_it_has_a_session_of_its_own_and_default_signals():
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        ended = run("sh", "-c", "ps -o sid= -p $$; echo $$; grep SigIgn /proc/$$/status")
    finally:
        signal.signal(signal.SIGIO, before)

    session, pid, ignored = ended.output.decode().split("\n")[:3]
    assert int(session) == int(pid)
    assert not any(int(ignored.split()[1], 16) >> number - 1 & 1 for number in (13, 25, 29))


def test_no_descriptor_of_ours_is_in_it():
    with open("/dev/null") as kept:
        assert kept.fileno() > 2
        ended = run("sh", "-c", "ls /proc/$$/fd")
        inherited = {fd for fd in map(int, os.listdir("/proc/self/fd")) if inheritable(fd)}

    assert set(map(int, ended.output.split())) <= inherited | {0, 1, 2}


@pytest.mark.parametrize("program", ["/nowhere/at-all", "no-such-program", "/etc/passwd", "/etc"])
def test_a_program_that_is_not_there_is_the_fault_of_the_place(program):
    with pytest.raises(MissingError, match=program):
        run(program)


@pytest.mark.parametrize("number", [errno.ETXTBSY, errno.EAGAIN, errno.ENOMEM])
def test_so_is_one_that_is_being_replaced_or_that_the_machine_has_no_room_for(monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_spawnp", refuse)  # nothing bounds root's processes for real

    with pytest.raises(MissingError, match=f"true: {os.strerror(number)}"):
        run("true")


def test_arguments_that_are_too_long_are_the_fault_of_the_item():
    with pytest.raises(OSError, match="too long"):
        run("true", "x" * 1_000_000)


@pytest.mark.parametrize("patient", [True, False])
def test_a_stop_asks_the_whole_session_to_end(tmp_path, monkeypatch, patient):
    monkeypatch.setattr(command, "GRACE_SECONDS", 5.0 if patient else 0.1)
    trap = f"trap 'echo asked > {tmp_path}/asked; {'exit 0' if patient else ''}' TERM"

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Interrupted):
            run("sh", "-c", f"{trap}; while :; do sleep 0.05; done")
    finally:
        signal.signal(signal.SIGALRM, before)

    assert (tmp_path / "asked").exists()
    assert not orphans.childless()
    orphans.kill_all()
    assert orphans.childless()
