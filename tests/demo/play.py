"""Have the real programs on stage: a home, a daemon whose log is printed, `resumed-ctl`."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = Path(sys.executable).parent
PATIENCE_SECONDS = 60


def prepare(home: Path, source: Path) -> None:
    """Make the folder as an administrator would: a configuration, a handler, an inbox."""
    if home.exists() and not (home / "resumed.toml").exists():
        sys.exit(f"{home}: is not a folder of this demo; name another one")
    shutil.rmtree(home, ignore_errors=True)
    for folder in ("inbox", "active", "hold", "done", "failed", "out", "state"):
        (home / folder).mkdir(parents=True)
    for name in ("resumed.toml", "handler.py"):
        shutil.copy(source / name, home)


class Daemon:
    """The real daemon, whose log is printed as it grows."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        path = home / "daemon.log"
        with path.open("a") as out:
            self.log = path.open()
            self.log.seek(0, os.SEEK_END)
            self.heard: list[str] = []
            self.process = subprocess.Popen(
                [PROGRAMS / "resumed", "run", "--home", home],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
            )

    def listen(self) -> None:
        """Print the lines that came since the last time."""
        for line in self.log:
            self.heard.append(line)
            print(f"    {line}", end="", flush=True)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Listen until *condition* holds."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if self.process.poll() is not None:
                sys.exit(f"the daemon ended with {self.process.returncode}")
            if time.monotonic() > until:
                sys.exit(f"one scene of the demo took more than {PATIENCE_SECONDS} s")
            self.listen()
            time.sleep(0.02)
        self.listen()

    def wait_until_ready(self) -> None:
        """Listen until it says that a dropped file will be processed."""
        self.wait_until(lambda: any("ready" in line for line in self.heard))

    def end(self, signal_number: int) -> None:
        """End it by a signal and print its last words."""
        self.process.send_signal(signal_number)
        self.process.wait()
        self.listen()


@contextmanager
def daemon(home: Path, environment: dict[str, str]) -> Iterator[Daemon]:
    """Start the daemon; whatever happens, leave none behind."""
    started = Daemon(home, environment)
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.end(signal.SIGKILL)
        started.log.close()


def say(text: str) -> None:
    """Tell the next scene."""
    print(f"\n{text}", flush=True)


def show(home: Path, *command: str, status: int = 0) -> None:
    """Ask `resumed-ctl` as a person would and let it print."""
    say(f"$ resumed-ctl --home {home.name} {' '.join(command)}")
    asked = [PROGRAMS / "resumed-ctl", "--home", home, *command]
    ended = subprocess.run(asked, check=False, stdin=subprocess.DEVNULL)
    if ended.returncode != status:
        sys.exit(f"it ended with {ended.returncode}, not with {status}")
