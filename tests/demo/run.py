"""Tell the whole story with the real programs: drop, kill, start again, look.

Everything happens in one folder (`demo/` in the tree, or the argument). The
daemon is a process of its own, found beside this interpreter, and the kill is a SIGKILL.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
PATIENCE_SECONDS = 60
DONE_BEFORE_THE_KILL = 4


def main(home: Path) -> None:
    """Run the demo in *home*, which is emptied first."""
    prepare(home)
    photos = sorted((HERE / "photos").glob("*.jpg"))
    expected = len(photos) + 2
    with catalogue(home / "catalogue.log") as address:
        environment = os.environ | {"CATALOGUE": address}
        say(f"A catalogue of photographs answers at {address}; it refuses some requests with 503.")

        say("The daemon starts.")
        with daemon(home, environment) as running:
            say(f"{expected} files are dropped while it runs; one is cut short, one is poison.")
            drop_all(home / "inbox", photos)
            running.wait_until(lambda: ended(home) >= DONE_BEFORE_THE_KILL)
            running.end(signal.SIGKILL)
        left = sum(1 for _ in (home / "active").glob("*/*.jpg"))
        waiting = sum(1 for _ in (home / "inbox").iterdir())
        say(
            f"SIGKILL: the daemon is dead, with {ended(home)} files done or failed, "
            f"{left} in its hands and {waiting} in the inbox."
        )

        say("The daemon starts again and goes on where it stopped.")
        with daemon(home, environment) as running:
            running.wait_until(lambda: ended(home) == expected)
            show(home, "status")
            running.end(signal.SIGTERM)
    show(home, "failures")
    show(home, "export")
    tell_searches(home)
    tell_pictures(home)


def prepare(home: Path) -> None:
    """Make the folder as an administrator would: a configuration, a handler, an inbox."""
    if home.exists() and not (home / "resumed.toml").exists():
        sys.exit(f"{home}: is not a folder of this demo; name another one")
    shutil.rmtree(home, ignore_errors=True)
    for folder in ("inbox", "active", "hold", "done", "failed", "out", "state"):
        (home / folder).mkdir(parents=True)
    for name in ("resumed.toml", "handler.py"):
        shutil.copy(HERE / name, home)


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


@contextmanager
def catalogue(log: Path) -> Iterator[str]:
    """Run the demo's HTTP service; its requests go to *log*."""
    command = [sys.executable, "-u", str(HERE / "catalogue.py")]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out, text=True
        )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def drop_all(inbox: Path, photos: list[Path]) -> None:
    """Copy the photographs in, one of them cut short and one under a name that kills."""
    for photo in photos:
        shutil.copyfile(photo, inbox / photo.name)
    whole = photos[0].read_bytes()
    (inbox / "truncated.jpg").write_bytes(whole[: len(whole) // 3])
    shutil.copyfile(photos[-1], inbox / "poison.jpg")


def ended(home: Path) -> int:
    """Count the photographs that were put away."""
    return sum(1 for state in ("done", "failed") for _ in (home / state).glob("*.jpg"))


def say(text: str) -> None:
    """Tell the next scene."""
    print(f"\n{text}", flush=True)


def show(home: Path, command: str) -> None:
    """Ask `resumed-ctl` as a person would and let it print."""
    say(f"$ resumed-ctl --home {home.name} {command}")
    asked = [PROGRAMS / "resumed-ctl", "--home", home, command]
    subprocess.run(asked, check=True, stdin=subprocess.DEVNULL)


def tell_searches(home: Path) -> None:
    """Compare what the catalogue was asked with what was needed."""
    lines = (home / "catalogue.log").read_text().splitlines()
    answers = Counter(line.split()[1] for line in lines if line.startswith("200"))
    refused = sum(1 for line in lines if line.startswith("503"))
    twice = sum(1 for times in answers.values() if times > 1)
    say(
        f"The catalogue answered about {len(answers)} photographs and refused {refused} times; "
        f"{twice} were looked up again, because the kill fell between answer and record."
    )


def tell_pictures(home: Path) -> None:
    """Name the folder with the pictures."""
    pictures = sorted(each.name for each in (home / "out").iterdir())
    say(f"{len(pictures)} watermarked pictures are in {home / 'out'}:")
    for first in range(0, len(pictures), 4):
        print("    " + "  ".join(f"{name:24}" for name in pictures[first : first + 4]))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo").resolve())
