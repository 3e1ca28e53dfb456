"""Give the tests a machine with the package installed, once for each Debian release."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from machine import Machine, cache, obstacle, setup, until  # noqa: E402 - found by the line above

SUITES = tuple(os.environ.get("RESUMED_SUITES", "bookworm trixie").split())
SPOOL, STATE = "/var/spool/resumed", "/var/lib/resumed"
FOLDERS = ("inbox", "active", "hold", "done", "failed", "out")
HANDLER = Path(__file__).with_name("handler.py")
MEMBERS = ("alice", "bob")
OUTSIDER = "mallory"


def pytest_configure(config: pytest.Config) -> None:
    assert "systemd" in str(config.getini("markers"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    real = [item for item in items if item.get_closest_marker("systemd")]
    if "systemd" not in (config.getoption("markexpr") or ""):
        # minutes long, so only when asked for by name
        config.hook.pytest_deselected(items=real)
        items[:] = [item for item in items if item not in real]
    elif reason := obstacle():
        if os.environ.get("RESUMED_NO_SKIP"):
            pytest.exit(f"the acceptance on a real systemd cannot run: {reason}", returncode=1)
        for item in real:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the roots now, as it may take longer than a test is given."""
    wanted = [item for item in session.items if "suite" in getattr(item, "fixturenames", ())]
    if wanted and not obstacle():
        for suite in SUITES:
            setup(suite)


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
    return str(request.param)


def fresh_machine(name: str, suite: str, package: Path) -> Machine:
    """Boot a machine of its own, with people in it and the package installed by apt."""
    machine = Machine(f"{name}-{suite}", suite)
    machine.destroy()
    machine.boot()
    machine.push(package, "/srv/resumed.deb")
    machine.run("apt-get", "install", "-y", "--no-install-recommends", "/srv/resumed.deb")
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


CONFIGURATION = """\
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
        self.since: tuple[str, ...] = ()

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
        # not --after-cursor, which with a match leaves out the first entry that matches
        here = self.run("journalctl", "--no-pager", "-n1", "--show-cursor", "-o", "cat").stdout
        self.since = ("--cursor", here.rpartition("-- cursor: ")[2].strip())

    def configure(self, more: str = "", *, text: str = CONFIGURATION) -> None:
        """Write the configuration and the handler; *more* goes before the tables."""
        self.machine.push(HANDLER, "/etc/resumed/handler.py")
        self.machine.write("/etc/resumed/resumed.toml", f"{more}\n{text}".lstrip("\n"))

    def drop_in(self, text: str, unit: str = "resumed.service") -> None:
        self.machine.write(f"/run/systemd/system/{unit}.d/test.conf", text)
        self.run("systemctl", "daemon-reload")

    # life

    def start(self) -> None:
        self.run("systemctl", "start", "resumed")

    def stop(self) -> None:
        """Stop, in order: `systemctl stop` itself is content with a kill."""
        self.run("systemctl", "stop", "resumed")
        assert self.show("Result") == "success", self.log()

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

    def spool_at(self, path: str) -> None:
        """Make the folders of a spool somewhere else, and configure them."""
        folders = " ".join(f"{path}/{name}" for name in FOLDERS)
        self.sh(f"mkdir -p {folders}; chown -R resumed: {path}")
        self.configure(f'paths.spool = "{path}"')

    # items

    def drop(self, name: str | bytes, content: str = "nothing\n", user: str = "alice") -> None:
        """Put a file into the inbox whole, as *user*."""
        script = 'cd /var/spool/resumed/inbox && cat >".$$.tmp" && mv -- ".$$.tmp" "$1"'
        self.run("sh", "-ec", script, "sh", os.fsdecode(name), stdin=content, user=user)

    def names(self, folder: str) -> list[str]:
        """List the files of a folder of the spool, without sidecars."""
        place = self.machine.inside(f"{SPOOL}/{folder}")
        files = (file.name for file in place.rglob("*") if file.is_file())
        return sorted(name for name in files if not name.endswith((".failure.txt", ".lock")))

    def await_end(self, *names: str, seconds: float = 30) -> None:
        """Wait until each is in done or failed."""
        wanted = set(names)
        try:
            until(lambda: wanted <= {*self.names("done"), *self.names("failed")}, "", seconds)
        except TimeoutError:
            pytest.fail(f"{names} did not end in {seconds} s\n{self.log()[-4000:]}")

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
        self.run("journalctl", "--sync", check=False)  # a test may have taken journald away
        words = matches or ("_SYSTEMD_UNIT=resumed.service", "+", "UNIT=resumed.service")
        out = self.run("journalctl", "-o", "json", "--all", *self.since, *words).stdout
        return [json.loads(line) for line in out.splitlines()]

    def log(self) -> str:
        self.run("journalctl", "--sync", check=False)  # a test may have taken journald away
        return self.run("journalctl", "-u", "resumed", "-o", "cat", *self.since).stdout


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a row for each pitfall, a column for each Debian release."""
    rows: dict[str, dict[str, set[str]]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            found = re.search(
                rf"test_acceptance\.py::test_(\w+)\[({'|'.join(SUITES)})", report.nodeid
            )
            if found:
                name = found[1].replace("_", " ")
                rows.setdefault(name, {}).setdefault(found[2], set()).add(outcome)
    if rows:
        terminalreporter.section("pitfalls")
    for name, results in rows.items():
        cells = [f"{suite} {word(results.get(suite)):6}" for suite in SUITES]
        terminalreporter.line(f"{name:58} {'  '.join(cells)}")


def word(outcomes: set[str] | None) -> str:
    return "-" if outcomes is None else "ok" if outcomes == {"passed"} else "NOT OK"
