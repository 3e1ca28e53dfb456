import os
import signal
import subprocess
import sys

import pytest

from resumed import orphans


@pytest.fixture(autouse=True)
def adopting():
    orphans.adopt()
    yield
    orphans.kill_all()


def sleeper(*, ready: str = "sleep 1000 & echo $!; wait") -> tuple[subprocess.Popen, int]:
    """Start a shell in a session of its own, and name its child."""
    shell = subprocess.Popen(
        ["sh", "-c", ready], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    child = int(shell.stdout.readline())
    shell.stdout.close()
    return shell, child


def lives(pid: int) -> bool:
    return orphans.born(pid) is not None


def test_whoever_has_no_child_is_childless():
    assert orphans.childless()
    assert orphans.children() == set()


def test_a_dead_child_that_nobody_waited_for_is_a_child():
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)

    assert not orphans.childless()
    assert orphans.children() == {child}

    orphans.kill_all()
    assert orphans.childless()


def test_children_and_their_children_are_killed_in_whatever_session():
    shell, child = sleeper()

    orphans.kill_all()

    assert not lives(shell.pid)
    assert not lives(child)
    shell.wait()


def test_a_daemon_that_was_forked_away_is_found():
    shell, child = sleeper(ready="setsid sleep 1000 & echo $!")
    shell.wait()
    assert lives(child)

    orphans.kill_all()

    assert not lives(child)


def test_who_is_spared_lives_on():
    spared, child = sleeper()
    other, _ = sleeper()

    orphans.kill_all({spared.pid})

    assert lives(spared.pid)
    assert lives(child)
    assert not lives(other.pid)
    other.wait()
    orphans.kill_all()
    spared.wait()


def test_killing_once_does_not_wait_and_is_repeated_until_it_finds_nobody():
    shell, child = sleeper()

    found = list(iter(lambda: orphans.kill_once(()), set()))

    assert found[0] == {shell.pid}
    assert child in set().union(*found)
    assert not lives(child)
    shell.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a child of another user")
def test_a_child_that_we_may_not_kill_is_left_and_not_waited_for():
    script = """
import os, subprocess, sys
from resumed import orphans
orphans.adopt()
r, w = os.pipe()
shell = subprocess.Popen(["sleep", "1000"])
os.setresuid(65534, 65534, 0)
assert orphans.kill_once(()) == set()
orphans.kill_all()
os.setresuid(0, 0, 0)
shell.kill()
shell.wait()
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=20, check=False).returncode == 0


def test_a_process_of_before_is_ended_with_its_descendants():
    shell, child = sleeper()

    orphans.end(shell.pid, orphans.born(shell.pid))

    assert shell.wait() == -signal.SIGKILL
    orphans.kill_all()
    assert not lives(child)


def test_another_process_with_the_same_number_is_left_alone():
    shell, _ = sleeper()

    orphans.end(shell.pid, orphans.born(shell.pid) + 1)
    orphans.end(2**22 + 1, 0)

    assert shell.poll() is None
    orphans.kill_all()
    shell.wait()
