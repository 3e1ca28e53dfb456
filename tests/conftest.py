"""Give the tests a home folder, and the real programs to run in it.

A daemon of a test is a process of its own: started as a person starts it, known to be
ready because it told a socket so as it tells systemd, and killed by its process id when
the test ends, with the workers that it may have left behind.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from resumed import durable
from resumed.engine import Engine
from resumed.paths import Paths
from resumed.recorder import Recorder

START_SECONDS = 30
FOLDERS = ("inbox", "active", "hold", "done", "failed", "out", "state")
_PR_SET_CHILD_SUBREAPER = 36


def wait_until(
    condition: Callable[[], object], timeout: float = 30, *, what: str | Callable[[], str] = ""
) -> None:
    """Return when *condition* holds; fail the test when it does not in *timeout* seconds.

    *what* was waited for, or is called to say how things stand then.
    """
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"not within {timeout} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.01)


class Home:
    """One folder with everything in it, as `--home` names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for folder in FOLDERS:
            (path / folder).mkdir(parents=True)
        self.inbox, self.active, self.hold, self.done, self.failed, self.out, self.state = (
            path / folder for folder in FOLDERS
        )
        self.journal = self.state / "journal.jsonl"

    def configure(self, text: str, *, handler: str | None = None) -> None:
        """Write resumed.toml, and handler.py beside it."""
        (self.path / "resumed.toml").write_text(text)
        if handler is not None:
            (self.path / "handler.py").write_text(handler)

    def names(self, folder: str) -> list[str]:
        """List the files of a folder of ours, without the sidecars."""
        entries = os.listdir(self.path / folder)
        return sorted(each for each in entries if not each.endswith(".failure.txt"))

    def ended(self) -> int:
        """Count the files that were put away."""
        return len(self.names("done")) + len(self.names("failed"))

    def records(self, kind: str | None = None) -> list[dict]:
        """Read the journal as `jq` would: whole lines of JSON, in order."""
        lines = self.journal.read_bytes().split(b"\n")[:-1]
        found = [json.loads(line) for line in lines]
        return [each for each in found if kind in (None, each.get("kind"))]


class Daemon:
    """The daemon as a process of its own, and what it tells systemd."""

    def __init__(self, home: Home, command: Sequence[str], environ: dict[str, str]) -> None:
        self.log = home.path / "daemon.log"
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        address = f"\0resumed-{os.getpid()}-{id(self)}-{time.monotonic_ns()}"
        self._socket.bind(address)
        # Heard at once, as by systemd: a queue of a few messages is all that a socket holds.
        self._ear = threading.Thread(target=self._listen)
        self._ear.start()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"NOTIFY_SOCKET": "@" + address[1:]} | environ,
                start_new_session=True,
            )

    def told(self) -> list[str]:
        """List every line that it has told systemd so far."""
        return list(self.messages)

    def _listen(self) -> None:
        while message := self._socket.recv(65536):
            self.messages += message.decode().splitlines()

    def wait_until_ready(self) -> "Daemon":
        """Return when it says READY=1."""
        wait_until(
            lambda: self.process.poll() is not None or "READY=1" in self.told(),
            START_SECONDS,
            what=self.tail,
        )
        if self.process.poll() is not None:
            pytest.fail(f"the daemon ended with {self.process.returncode}: {self.tail()}")
        return self

    def tail(self) -> str:
        """Quote the end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        """Wait for its end and return how it ended, as `subprocess` counts."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the daemon did not end within {timeout} s: {self.tail()}")

    def stop(self, timeout: float = 30) -> int:
        """End it as systemd would."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """End it as the kernel would, and nobody else."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Leave nothing behind, politely if it listens: so its coverage is written, too."""
        if self.process.poll() is None:
            for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGTERM):
                self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process.poll() is None:
            self.kill()
        self._socket.shutdown(socket.SHUT_RDWR)  # to close it would not wake who listens
        self._ear.join()
        self._socket.close()


class Programs:
    """Start daemons in one home, by *wrapper* if it is set, and end those still there."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.daemons: list[Daemon] = []
        self.wrapper: list[str] = []

    def start(self, *arguments: str, **environ: str) -> Daemon:
        """Start the daemon without waiting for it."""
        run = [sys.executable, "-m", "resumed.cli", "run", "--home", str(self.home.path)]
        self.daemons.append(Daemon(self.home, [*self.wrapper, *run, *arguments], environ))
        return self.daemons[-1]

    def __call__(self, *arguments: str, **environ: str) -> Daemon:
        """Start the daemon and wait until it is ready."""
        return self.start(*arguments, **environ).wait_until_ready()


def pytest_configure() -> None:
    """Undo what a shell does to what it starts with `&`: programs of ours would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _adopt_nobody() -> Iterator[None]:
    """Undo `orphans.adopt` after a test: what a server leaves must not become our child."""
    yield
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure no coverage in what this test starts: it runs much, or is killed anyway."""
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)


@pytest.fixture(name="wait_until")
def _wait_until() -> Callable[..., None]:
    """Offer `wait_until` to tests, which cannot import from here."""
    return wait_until


@pytest.fixture
def public_path() -> Iterator[Path]:
    """Lend a folder that other users can reach, as those of pytest cannot be for long."""
    with tempfile.TemporaryDirectory(prefix="resumed-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """Open the journal of a state folder below the test's own."""
    (tmp_path / "state/history").mkdir(parents=True, exist_ok=True)
    made = Recorder(Paths.below(tmp_path, tmp_path / "state"), time.time, lambda _: 7)
    yield made
    made.close()


@pytest.fixture
def put_off(wait_until: Callable[..., None]) -> Callable[..., None]:
    """Return what turns an engine until something waits, while *folder* is locked, and ends it."""

    def put_off(engine: Engine, folder: Path, waiting: Callable[[], int]) -> None:
        held = durable.open_folder(folder)
        durable.lock(held)  # as a process does that outlived its attempt
        engine.pool.start()

        def turn() -> int:
            for key, events in engine.selector.select(0.1):
                engine.hear(key.fd, events)
            engine.turn()
            return waiting()

        wait_until(turn)
        engine.drain()
        engine.close()
        os.close(held)

    return put_off


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Make an empty home; a handler that does nothing is configured."""
    made = Home(tmp_path / "home")
    made.configure(
        'handler = "handler:process"\nsettle = "100ms"\n',
        handler="def process(item):\n    return None\n",
    )
    return made


@pytest.fixture
def daemon(home: Home) -> Iterator[Programs]:
    """Start daemons in *home* by calling this."""
    programs = Programs(home)
    yield programs
    for each in programs.daemons:
        each.close()
    for pid in working_in(home.path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def working_in(folder: Path) -> Iterator[int]:
    """Yield the processes whose working folder is *folder*: a killed daemon's workers."""
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(each / "cwd")) == folder:
                yield int(each.name)


@pytest.fixture
def ctl(home: Home) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `resumed-ctl` in *home*."""

    def run(*arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [sys.executable, "-m", "resumed.ctl", "--home", home.path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
            check=False,
        )
        if status is not None:
            assert ended.returncode == status, ended.stdout + ended.stderr
        return ended

    return run


@pytest.fixture
def drain(home: Home) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `resumed drain` in *home*, to its end."""

    def run(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "resumed.cli", "drain", "--home", home.path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )

    return run
