import fcntl
import os
import subprocess
import sys
import time

import pytest

from resumed import alive

HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def holder(lock):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_without_a_lock_file_nothing_was_ever_run(lock):
    assert alive.probe(lock, time.time()) == alive.Life("down", None, None)


def test_a_lock_that_nobody_holds_means_down(lock):
    lock.touch()
    os.utime(lock, (100, 100))

    assert alive.probe(lock, 100.0) == alive.Life("down", None, 100.0, os.getuid())


def test_a_lock_that_is_held_means_up(lock, holder):
    life = alive.probe(lock, time.time())

    assert (life.state, life.pid) == ("up", holder.pid)


@pytest.mark.usefixtures("holder")
def test_a_lock_that_is_held_and_old_means_hung(lock):
    now = time.time()
    os.utime(lock, (now - alive.HUNG_SECONDS - 1,) * 2)

    assert alive.probe(lock, now).state == "hung"


def test_to_look_disturbs_nobody_who_takes_the_lock(lock):
    fd = os.open(lock, os.O_RDWR | os.O_CREAT)
    for _ in range(100):
        alive.probe(lock, time.time())
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def test_where_the_kernels_list_cannot_be_read_the_lock_is_tried(
    lock, holder, monkeypatch, tmp_path
):
    monkeypatch.setattr(alive, "LOCKS", tmp_path / "missing")

    life = alive.probe(lock, time.time())
    assert (life.state, life.pid) == ("up", None)

    holder.kill()
    holder.wait()
    assert alive.probe(lock, time.time()).state == "down"


@pytest.mark.parametrize("held", [True, False])
def test_a_device_number_that_differs_makes_the_lock_be_tried(
    lock, holder, monkeypatch, tmp_path, held
):
    inode = lock.stat().st_ino
    rows = f"1: FLOCK  ADVISORY  WRITE 99 ff:ff:{inode} 0 EOF\n"
    (tmp_path / "locks").write_text(rows + f"1: -> FLOCK ADVISORY WRITE 7 ff:ff:{inode} 0 EOF\n")
    monkeypatch.setattr(alive, "LOCKS", tmp_path / "locks")
    if not held:
        holder.kill()
        holder.wait()

    assert alive.probe(lock, time.time()).state == ("up" if held else "down")


def test_a_process_tells_since_when_it_runs(holder):
    assert abs(alive.started_at(holder.pid) - time.time()) < 60
    assert alive.started_at(2**22 + 1) is None
