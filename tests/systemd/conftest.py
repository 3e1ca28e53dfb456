"""Give the tests a machine with the package installed, once for each Debian release."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from machine import Machine, cache, obstacle, setup, until  # noqa: E402 - found by the line above

SUITES = ("bookworm", "trixie")
SPOOL, STATE = "/var/spool/resumed", "/var/lib/resumed"
FOLDERS = ("inbox", "active", "hold", "done", "failed", "out")
MEMBERS = ("alice", "bob")
OUTSIDER = "mallory"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "systemd: boots a real systemd; run by make acceptance")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # minutes long, so only when asked for by name
    if "systemd" in (config.getoption("markexpr") or ""):
        reason = obstacle()
        if reason and os.environ.get("RESUMED_NO_SKIP"):
            pytest.exit(f"the acceptance on a real systemd cannot run: {reason}", returncode=1)
    else:
        reason = "boots containers: run make acceptance"
    for item in items:
        if reason and item.get_closest_marker("systemd"):
            item.add_marker(pytest.mark.skip(reason=reason))


def build(version: str = "") -> Path:
    """Build the package as a person would, of *version* where one is given."""
    done = subprocess.run(
        [TREE / "packaging/build-deb.sh", cache() / "packages"],
        env={**os.environ, "VERSION": version}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def package() -> Path:
    return Path(os.environ.get("RESUMED_DEB") or build())


@pytest.fixture(scope="session")
def next_package() -> Path:
    return build("0.1.0+next")


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    setup(request.param)
    return str(request.param)


def fresh_machine(name: str, suite: str, package: Path) -> Machine:
    """Boot a machine of its own, with people in it and the package installed by apt."""
    machine = Machine(f"{name}-{suite}", suite)
    machine.destroy()
    machine.boot()
    machine.push(package, "/root/resumed.deb")
    machine.run("apt-get", "install", "-y", "--no-install-recommends", "/root/resumed.deb")
    for person in (*MEMBERS, OUTSIDER):
        machine.run("useradd", "--create-home", "--shell", "/bin/bash", person)
    for person in MEMBERS:
        machine.run("usermod", "-aG", "resumed", person)
    return machine


@pytest.fixture(scope="session")
def installed(suite: str, package: Path) -> Iterator[Machine]:
    machine = fresh_machine("shared", suite, package)
    yield machine
    machine.destroy()


@pytest.fixture
def service(installed: Machine) -> Iterator["Service"]:
    service = Service(installed)
    service.reset()
    yield service
    service.reset()


@pytest.fixture
def own(suite: str, package: Path) -> Iterator["Service"]:
    """Give a machine that the test may spoil."""
    machine = fresh_machine("own", suite, package)
    yield Service(machine)
    machine.destroy()


# What an item does is written in its first line: "sleep 3", "fail", "grandchild", ...
HANDLER = """
import os
import subprocess
import sys
import time

from resumed import PermanentError, TransientError

CALLS = os.open("/var/lib/resumed/calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)


def note(*words):
    os.write(CALLS, (" ".join(map(str, words)) + "\\n").encode("utf-8", "surrogateescape"))


def process(item):
    with open(item.path, encoding="utf-8", errors="replace") as file:
        verb, *rest = (file.readline().split() or ["nothing"])
    note("begin", item.id, item.attempt, ascii(item.name))
    answer = ACTS[verb](item, *rest)
    note("end", item.id, item.attempt, ascii(item.name))
    return answer


def nothing(item):
    return None


def sleep(item, seconds):
    time.sleep(float(seconds))


def fail(item):
    raise PermanentError("meant to fail")


def busy(item):
    raise TransientError("meant to be busy")


def environment(item):
    with open(item.output(item.name + ".environment"), "w") as file:
        file.writelines(f"{key}={value}\\n" for key, value in sorted(os.environ.items()))


def credentials(item):
    with open("/proc/self/status") as status, open(item.output("status"), "w") as out:
        out.write(status.read())
    subprocess.run(["cp", "/proc/self/status", item.output("status-of-a-command")], check=True)


def grandchild(item):
    subprocess.Popen(
        ["setsid", "--fork", "sleep", "4711"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def notify(item):
    import socket
    address = os.environ.get("NOTIFY_SOCKET", "/run/systemd/notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"STOPPING=1", address)
        out.sendto(b"STATUS=a lie", address)


def shout(item):
    print("out of the handler")
    print("err of the handler", file=sys.stderr)


def steps(item):
    for step in ("one", "two"):
        item.step(step, note, "step", item.id, step)
        time.sleep(0.05)


ACTS = {name: value for name, value in globals().items() if callable(value)}
"""

CONFIGURATION = """
handler = "handler:process"
settle = 0
stop_timeout = "60s"
log.level = "debug"

[retry]
initial = "200ms"
jitter = 0
max_attempts = 3
"""


class Service:
    """Drive the installed service the way an administrator and the people do."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.run = machine.run
        self.sh = machine.sh

    def reset(self) -> None:
        """Make everything as it is after the installation, with our handler configured."""
        self.sh(
            """
            systemctl stop resumed.service 'resumed@*' 'resumed-drain.*' || true
            rm -rf /etc/systemd/system/resumed*.d /run/systemd/system/resumed*.d
            systemctl daemon-reload
            systemctl reset-failed 'resumed*' || true
            find /var/lib/resumed /var/spool/resumed -mindepth 2 -delete
            find /var/lib/resumed -mindepth 1 -maxdepth 1 ! -name requests -exec rm -rf {} +
            """
        )
        self.configure()

    def configure(self, more: str = "", *, text: str = CONFIGURATION) -> None:
        """Write the configuration and the handler; *more* goes before the tables."""
        self.machine.write("/etc/resumed/handler.py", HANDLER)
        self.machine.write("/etc/resumed/resumed.toml", f"{more}\n{text}")

    def drop_in(self, text: str, unit: str = "resumed.service") -> None:
        self.machine.write(f"/run/systemd/system/{unit}.d/test.conf", text)
        self.run("systemctl", "daemon-reload")

    # life

    def start(self) -> None:
        self.run("systemctl", "start", "resumed")

    def stop(self) -> None:
        self.run("systemctl", "stop", "resumed")

    def show(self, what: str, unit: str = "resumed.service") -> str:
        return self.run("systemctl", "show", unit, "--value", "-p", what).stdout.rstrip("\n")

    @property
    def main_pid(self) -> int:
        return int(self.show("MainPID"))

    def active(self, unit: str = "resumed.service") -> bool:
        return self.show("ActiveState", unit) == "active"

    def ctl(self, *words: str, user: str = "", check: bool = True) -> str:
        done = self.run("resumed-ctl", *words, user=user, check=check)
        return done.stdout + done.stderr

    # items

    def drop(self, name: str | bytes, content: str = "nothing\n", user: str = "alice") -> None:
        """Put a file into the inbox whole, as *user*."""
        script = 'cd /var/spool/resumed/inbox && cat >".$$.tmp" && mv -- ".$$.tmp" "$1"'
        self.run("sh", "-ec", script, "sh", os.fsdecode(name), stdin=content, user=user)

    def names(self, folder: str) -> list[str]:
        """List the files of a folder of the spool, without sidecars."""
        place = self.machine.inside(f"{SPOOL}/{folder}")
        files = (file.name for file in place.rglob("*") if file.is_file())
        return sorted(name for name in files if not name.endswith(".failure.txt"))

    def await_end(self, *names: str, seconds: float = 30) -> None:
        """Wait until each is in done or failed."""
        until(
            lambda: set(names) <= {*self.names("done"), *self.names("failed")},
            f"{names} ended\n{self.log()[-4000:]}",
            seconds,
        )

    def await_begun(self, name: str) -> None:
        until(
            lambda: any(c[0] == "begin" and c[3] == ascii(name) for c in self.calls()),
            f"{name} began",
        )

    def calls(self) -> list[list[str]]:
        """Read what the handler noted: begin or end, id, attempt, name."""
        file = self.machine.inside(f"{STATE}/calls")
        if not file.exists():
            return []
        return [line.split(" ", 3) for line in file.read_text().splitlines()]

    def records(self, kind: str = "") -> list[dict[str, object]]:
        """Read the journal; compaction may have left only the header."""
        lines = self.machine.inside(f"{STATE}/journal.jsonl").read_bytes().split(b"\n")[:-1]
        found = [json.loads(line) for line in lines]
        return [record for record in found if kind in ("", record["kind"])]

    # what systemd's journal holds

    def entries(self, *matches: str) -> list[dict[str, str]]:
        self.run("journalctl", "--sync")
        words = matches or ("_SYSTEMD_UNIT=resumed.service", "+", "UNIT=resumed.service")
        out = self.run("journalctl", "-o", "json", "--all", "--no-pager", *words).stdout
        return [json.loads(line) for line in out.splitlines()]

    def log(self) -> str:
        self.run("journalctl", "--sync")
        return self.run("journalctl", "-u", "resumed", "--no-pager", "-o", "cat").stdout
