"""Let the world around the daemon lie: its clock, its inbox, another daemon, too many files."""

import contextlib
import glob
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), None)
# An old watchdog goes by the wall clock: after a jump only a scan finds what comes.
RESCAN = "1min" if int(version("watchdog").split(".")[0]) >= 6 else "5s"
CONFIG = f"""
handler = "handler:process"
settle = 0
rescan = "{RESCAN}"
[retry]
initial = "1s"
jitter = 0
"""
FAILS_ONCE = """
from resumed import TransientError

def process(item):
    if item.attempt == 1:
        raise TransientError("not now")
"""


class Clock:
    """What a daemon takes for the time: so much beside the real one, changed while it runs."""

    def __init__(self, path):
        self.path = path
        self.set("+0")
        self.environ = {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset):
        written = self.path.with_suffix(".new")
        written.write_text(offset + "\n")
        written.replace(self.path)


@pytest.fixture
def clock(tmp_path):
    if LIBRARY is None:
        pytest.skip("libfaketime is not installed")
    return Clock(tmp_path / "offset")


def drop(home, name):
    hidden = home.inbox / f".{name}"
    hidden.write_text(name)
    hidden.rename(home.inbox / name)


@pytest.mark.parametrize(
    "offset",
    ["-30000d", *(pytest.param(each, marks=pytest.mark.slow) for each in ("+1d", "-1d"))],
)
def test_a_clock_that_jumps_neither_loses_a_retry_nor_an_arrival(
    home, daemon, clock, wait_until, offset
):
    home.configure(CONFIG, handler=FAILS_ONCE)
    running = daemon(**clock.environ)
    drop(home, "before")
    wait_until(lambda: home.records("waiting"), what=running.tail)

    clock.set(offset)
    drop(home, "after")

    wait_until(lambda: home.names("done") == ["after", "before"], 20, what=running.tail)
    drop(home, "killed")
    wait_until(lambda: len(home.records("waiting")) == 3, what=running.tail)
    days = {each["at"][:10] for each in home.records()}
    assert len(days) > 1, "the clock did not jump"
    running.kill()
    clock.set("+0")
    again = daemon(**clock.environ)
    wait_until((home.done / "killed").exists, 20, what=again.tail)
    assert again.stop() == 0
    assert home.names("failed") == []


@pytest.mark.slow
def test_a_clock_before_the_epoch_at_the_first_start_is_lived_with(
    home, daemon, ctl, clock, wait_until
):
    home.configure(CONFIG, handler=FAILS_ONCE)
    clock.set("-30000d")
    running = daemon(**clock.environ)
    drop(home, "a")

    wait_until((home.done / "a").exists, 20, what=running.tail)

    assert running.stop() == 0
    told = home.records()[0]["at"]
    assert told < "1970", told
    ctl("log")
    clock.set("+0")
    again = daemon(**clock.environ)
    drop(home, "b")
    wait_until((home.done / "b").exists, 20, what=again.tail)


def after_a_reboot(seconds):
    """Start a program where the monotonic clocks began so many seconds ago, or say why not."""
    since = -int(time.clock_gettime(time.CLOCK_BOOTTIME)) + seconds
    wrapper = ["unshare", "--time", f"--monotonic={since}", f"--boottime={since}"]
    tell = [sys.executable, "-c", "import time; print(time.monotonic())"]
    told = subprocess.run([*wrapper, *tell], capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip(f"no time namespaces: {told.stderr}")
    assert 0 <= float(told.stdout) < seconds + 60, "the clock did not begin again"
    return wrapper


@pytest.mark.parametrize("seconds", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_a_machine_that_began_again_keeps_every_retry(home, daemon, wait_until, seconds):
    home.configure(CONFIG.replace('"1s"', '"4s"'), handler=FAILS_ONCE)
    running = daemon()
    drop(home, "before")
    wait_until(lambda: home.records("waiting"), what=running.tail)
    running.kill()

    daemon.wrapper = after_a_reboot(seconds)
    running = daemon()
    drop(home, "after")

    wait_until(lambda: home.names("done") == ["after", "before"], 20, what=running.tail)
    waited = {each["id"]: seconds_of(each) for each in home.records("waiting")}
    again = [each for each in home.records("started") if each["attempt"] == 2]
    assert len(again) == 2
    assert all(3.9 < seconds_of(each) - waited[each["id"]] < 12 for each in again)
    assert running.stop() == 0


def seconds_of(record):
    return datetime.fromisoformat(record["at"]).timestamp()


@contextlib.contextmanager
def mounted(*words):
    """Mount, and unmount what somebody may still hold open."""
    subprocess.run(["mount", *words], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", words[-1]], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_nobody_is_told_ready_beside_an_inbox_on_another_mount(home, drain, daemon):
    drop(home, "a")
    with mounted("--bind", home.inbox, home.inbox):
        running = daemon.start()

        assert running.wait() == 78
        assert "another file system or mount" in running.tail()
        assert "READY=1" not in running.told()
        assert drain().returncode == 78
    assert drain().returncode == 0
    assert home.names("done") == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_an_inbox_that_is_mounted_over_pauses_and_goes_on_when_it_is_back(home, daemon, wait_until):
    home.configure('handler = "handler:process"\nsettle = 0\nrescan = "1s"\nreserve = 0\n')
    running = daemon()
    with mounted("-t", "tmpfs", "tmpfs", home.inbox):
        drop(home, "elsewhere")
        wait_until(lambda: '"intake_paused"' in running.tail(), what=running.tail)
        assert "another file system or mount" in running.tail()

    drop(home, "a")

    wait_until((home.done / "a").exists, what=running.tail)
    assert running.stop() == 0


@pytest.fixture
def disk(home, tmp_path):
    """Make a copy of the home, to be mounted there, and a handler that waits for ``go``."""
    home.configure(
        'handler = "handler:process"\nworkers = 1\nsettle = 0\nrescan = "1s"\nreserve = 0\n',
        handler=f"import pathlib, time\n\nPLACE = pathlib.Path({str(tmp_path)!r})\n\n"
        "def process(item):\n    (PLACE / 'begun').touch()\n"
        "    while not (PLACE / 'go').exists():\n        time.sleep(0.01)\n",
    )
    return shutil.copytree(home.path, tmp_path / "disk")


@pytest.fixture
def taken_away(home, disk, daemon, wait_until):
    """Take the disk away from a daemon at work; its log is on that disk."""
    with mounted("--bind", disk, home.path):
        running = daemon()
        for name in ("a", "b", "c"):
            drop(home, name)
        wait_until(lambda: len(home.records("claimed")) == 3, what=running.tail)
        wait_until((disk.parent / "begun").exists, what=running.tail)
    running.log = disk / "daemon.log"
    return running


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_disk_that_is_taken_away_and_given_back_is_worked_on(home, disk, taken_away, wait_until):
    shutil.rmtree(home.path)
    home.path.mkdir()
    wait_until(lambda: '"intake_paused"' in taken_away.tail(), what=taken_away.tail)
    (disk.parent / "go").touch()
    wait_until(lambda: "a" in os.listdir(disk / "done"), what=taken_away.tail)

    with mounted("--bind", disk, home.path):
        drop(home, "d")
        wait_until(lambda: home.names("done") == ["a", "b", "c", "d"], what=taken_away.tail)
        assert taken_away.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_what_lies_below_a_disk_that_is_taken_away_takes_nothing_of_it(
    home, daemon, taken_away, disk, wait_until
):
    drop(home, "elsewhere")
    (disk.parent / "go").touch()

    assert taken_away.wait() == 74
    assert "mend the disk" in taken_away.tail()
    assert (home.names("inbox"), home.names("done")) == (["elsewhere"], [])
    with mounted("--bind", disk, home.path):
        again = daemon()
        wait_until(lambda: home.names("done") == ["a", "b", "c"], what=again.tail)
        assert again.stop() == 0


def test_of_daemons_that_start_at_once_one_works(home, daemon, wait_until):
    started = [daemon.start() for _ in range(4)]

    wait_until(lambda: sum(each.process.poll() is None for each in started) == 1, 60)

    (working,) = [each for each in started if each.process.poll() is None]
    assert {each.process.returncode for each in started if each is not working} == {75}
    working.wait_until_ready()
    drop(home, "a")
    wait_until((home.done / "a").exists, what=working.tail)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_files_are_all_taken_in_little_memory(home, daemon, wait_until):
    for number in range(100_000):
        os.close(os.open(home.inbox / f"{number}.txt", os.O_CREAT | os.O_WRONLY))
    running = daemon()

    def done():
        return sum(1 for _ in os.scandir(home.done))

    wait_until(lambda: done() == 100_000, 1000, what=running.tail)

    status = Path(f"/proc/{running.process.pid}/status").read_text()
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    assert int(peak) < 150 << 10, f"{peak} KiB"
    assert not os.listdir(home.inbox)
