"""Look at jobs in Redis and DynamoDB by the program, as at those of the daemon."""

import json
import os
import pty
import subprocess
import sys
import threading

import pytest

from resumed import commandline, ctl
from resumed.errors import UsageError
from resumed.model import Fault
from resumed.progress import places
from resumed.progress.errors import JobFault
from resumed.progress.parts import Parts


@pytest.fixture(params=["redis", "dynamodb"])
def backend(request, monkeypatch, backend_of):
    opened = backend_of(request.param)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return opened


@pytest.fixture
def url(backend):
    said = backend.keywords
    if backend.kind == "redis":
        return f"redis://127.0.0.1:{said['port']}"
    return f"dynamodb://{said['region_name']}/{said['table_arn']}?endpoint={said['endpoint_url']}"


@pytest.fixture
def keeper(backend):
    return backend.open()


@pytest.fixture
def say(url, tmp_path, monkeypatch, capsys):
    """Call the program as its entry point does, where there is no instance."""

    def call(*arguments):
        program = ["resumed-ctl", "--home", str(tmp_path / "none"), "jobs"]
        monkeypatch.setattr(sys, "argv", [*program, *arguments, "--backend", url])
        capsys.readouterr()
        status = commandline.invoke(ctl.program, "resumed-ctl")
        return status, capsys.readouterr()

    return call


def create(keeper, job_id, count):
    with Parts({"n": n} for n in range(count)) as parts:
        keeper.create(job_id, parts)


def end(keeper, job_id):
    answers = [keeper.complete(job_id, part.id) for part in keeper.pending(job_id)]
    keeper.confirm_reduce(answers[-1].reduce)


def documents(said):
    assert said.out.isascii()
    return [json.loads(line) for line in said.out.splitlines()]


def test_jobs_are_told_in_the_words_and_the_json_of_the_daemons(keeper, say):
    create(keeper, "tiles", 4)
    keeper.complete("tiles", "0")
    lease = keeper.begin("tiles", "1")
    keeper.give_up(lease, Fault("ValueError", "no \x1b good"))
    keeper.begin("tiles", "2")
    create(keeper, "over", 1)
    end(keeper, "over")

    status, said = say("ls", "--json")
    [job] = documents(said)

    assert status == 0
    assert (job["id"], job["name"], job["state"]) == ("tiles", "tiles", "open")
    counted = {each: job[each] for each in ("parts", "done", "failed", "running", "pending")}
    assert counted == {"parts": 4, "done": 1, "failed": 1, "running": 1, "pending": 1}
    assert say("ls", "--all", "--ids")[1].out.split() == ["over", "tiles"]
    assert "tiles" in say("ls")[1].out
    assert documents(say("pending", "tiles", "--json")[1]) == [{"part": "3"}]
    assert say("failures", "tiles")[1].out == "1  failed  ValueError: no \\x1b good\n"
    assert documents(say("info", "over", "--json")[1])[0]["reduce"]["state"] == "done"


def test_a_job_that_was_given_up_is_failed_with_its_reason(keeper, say):
    create(keeper, "tiles", 2)
    keeper.fail_job("tiles", JobFault("KeyError", "no account", "1", 1, keeper.clock()))

    [job] = documents(say("info", "tiles", "--json")[1])
    status, said = say("wait", "tiles")

    assert (job["state"], job["error"]) == (
        "failed",
        {"kind": "KeyError", "text": "part 1, attempt 1: no account"},
    )
    assert (status, said.out) == (1, "tiles: failed\n")


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_a_person_is_told_of_a_server_that_may_forget(keeper, say, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    keeper.redis.config_set("appendfsync", "everysec")
    try:
        told = say("ls")[1].err
        monkeypatch.undo()
    finally:
        keeper.redis.config_set("appendfsync", "always")

    assert "appendfsync always" in told


def test_waiting_ends_with_the_job_or_with_patience(keeper, say):
    create(keeper, "tiles", 2)

    assert say("wait", "tiles", "--seconds", "0.2")[0] == 4
    ending = threading.Timer(0.3, end, (keeper, "tiles"))
    ending.start()
    status, said = say("wait", "tiles", "--seconds", "30")
    ending.join()

    assert (status, said.out) == (0, "tiles: done\n")


def test_a_job_that_is_not_there_is_said_to_be_unknown(say):
    status, said = say("info", "nobody")

    assert (status, said.out) == (1, "")
    assert "nobody" in said.err


def test_a_server_that_does_not_answer_is_named_without_its_password(capsys, monkeypatch):
    url = "redis://me:secret@127.0.0.1:1/0"
    monkeypatch.setattr(sys, "argv", ["resumed-ctl", "jobs", "ls", "--backend", url])

    status = commandline.invoke(ctl.program, "resumed-ctl")

    said = capsys.readouterr().err
    assert status == 1
    assert "redis://127.0.0.1:1/0: " in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "url",
    [
        "http://host/",
        "redis://",
        "redis://host/name",
        "redis://host:port",
        "dynamodb://eu-west-1/",
        "",
    ],
)
def test_a_url_that_names_no_backend_is_refused_with_the_forms(url):
    with pytest.raises(UsageError, match="dynamodb://REGION/TABLE"):
        places.open_progress(url)


def test_on_a_terminal_waiting_draws_a_bar(redis_port, backend_of):
    keeper = backend_of("redis").open()
    create(keeper, "bar", 4)
    keeper.complete("bar", "0")
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "resumed.ctl", "jobs", "wait", "bar", "--backend"]
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    drawn = b""
    with subprocess.Popen(
        [*line, f"redis://127.0.0.1:{redis_port}"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environ,
    ) as process:
        os.close(theirs)
        while b"1/4" not in drawn:
            drawn += os.read(ours, 65536)
        end(keeper, "bar")
        assert process.stdout.read() == b"bar: done\n"
        assert process.wait(20) == 0
    os.close(ours)
