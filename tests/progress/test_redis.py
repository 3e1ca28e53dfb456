"""Kill the Redis server, and look at what is peculiar to it."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

if os.environ.get("CI") != "true":
    pytest.importorskip("redis", reason="pip install redis")

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from resumed.progress.parts import Parts
from resumed.progress.redis import RedisProgress
from resumed.progress.states import AlreadyDone, Ended, LastPart, ReduceClaimed


@pytest.fixture
def progress(redis_port):
    with contextlib.closing(RedisProgress(port=redis_port)) as opened:
        opened.redis.flushall()
        yield opened


def create(progress, job_id, total):
    with Parts({"n": n} for n in range(total)) as parts:
        return progress.create(job_id, parts)


def test_a_server_that_syncs_every_answer_needs_no_caution(progress):
    assert progress.caution() is None


def test_a_server_that_may_forget_is_told_of(progress):
    progress.redis.config_set("appendfsync", "everysec")
    try:
        assert "appendfsync always" in progress.caution()
    finally:
        progress.redis.config_set("appendfsync", "always")


def test_a_server_that_does_not_tell_is_told_of(progress):
    rights = ["+@all", "-config"]
    progress.redis.acl_setuser("worker", enabled=True, nopass=True, keys="*", commands=rights)
    port = progress.redis.connection_pool.connection_kwargs["port"]
    with contextlib.closing(RedisProgress(port=port, username="worker", password="x")) as worker:  # noqa: S106
        create(worker, "job", 1)

        assert "does not tell" in worker.caution()
    progress.redis.acl_deluser("worker")


def test_a_refused_creation_leaves_nothing_behind(progress):
    create(progress, "job", 1)
    keys = set(progress.redis.keys())

    with pytest.raises(Exception, match="exists"):
        create(progress, "job", 5000)

    assert set(progress.redis.keys()) == keys


def test_a_deleted_job_leaves_nothing_behind(progress):
    create(progress, "job", 20)
    progress.begin("job", "3")
    progress.complete("job", "4", "r")

    progress.delete("job")

    assert progress.redis.keys() == []


def test_a_creation_that_dies_half_way_expires(progress, monkeypatch):
    monkeypatch.setattr(progress, "_script", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        create(progress, "job", 1500)

    assert progress.jobs() == []
    assert all(0 < progress.redis.ttl(key) <= 86_400 for key in progress.redis.scan_iter())


def test_nothing_of_a_created_job_expires(progress):
    create(progress, "job", 1500)

    assert all(progress.redis.ttl(key) == -1 for key in progress.redis.scan_iter())


def test_other_keys_of_the_database_are_left_alone(progress):
    progress.redis.set("job-metadata", "theirs")
    create(progress, "job", 1)

    assert [job.id for job in progress.jobs()] == ["job"]
    progress.delete("job")
    assert progress.redis.get("job-metadata") == "theirs"


def test_scripts_are_loaded_again_by_a_server_that_forgot_them(progress):
    create(progress, "job", 2)
    progress.redis.script_flush()

    assert progress.job("job").total == 2


def test_what_was_answered_survives_the_death_of_the_server(redis_command):
    command, port = redis_command
    answered = []

    for life in range(3):
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with contextlib.closing(RedisProgress(port=port)) as progress:
            answers(progress)
            if life == 0:
                create(progress, "job", 21)
            for number in range(life * 10, life * 10 + 10):
                answered.append(number)
                assert not isinstance(progress.complete("job", str(number), number), LastPart)
            assert list(progress.results("job")) == [(str(n), n) for n in answered]
            if life == 1:
                last = progress.complete("job", "20")
                assert isinstance(last, LastPart)
                break
            server.send_signal(signal.SIGKILL)
            server.wait()
    server.send_signal(signal.SIGKILL)
    server.wait()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with contextlib.closing(RedisProgress(port=port)) as progress:
        answers(progress)
        assert isinstance(progress.job("job").state, ReduceClaimed)
        assert progress.confirm_reduce(last.reduce)
        assert isinstance(progress.job("job").state, Ended)
    server.terminate()
    server.wait()


def answers(progress):
    until = time.monotonic() + 30
    while True:
        try:
            progress.redis.ping()
        except redis.ConnectionError:
            assert time.monotonic() < until, "redis-server does not answer"
            time.sleep(0.02)
        else:
            return


class Cutting:
    """Stand between a client and the server; lose the next answer when told so."""

    def __init__(self, port):
        self._server = ("127.0.0.1", port)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.lose = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                with client, socket.create_connection(self._server) as server:
                    self._carry(client, server)

    def _carry(self, client, server):
        while True:
            ready, _, _ = select.select([client, server], [], [], 10)
            for each in ready or [client]:
                piece = each.recv(1 << 20) if ready else b""
                if not piece:
                    return
                if each is server and self.lose:
                    self.lose = False
                    return
                (client if each is server else server).sendall(piece)

    def close(self):
        self._door.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._door.close()


@pytest.fixture
def cutting(redis_port):
    with contextlib.closing(Cutting(redis_port)) as between:
        yield between


@pytest.fixture
def far(progress, cutting):
    """Open a backend whose client asks again when it hears no answer, as by default it does."""
    again = Retry(NoBackoff(), 1)
    keywords = {"retry": again, "retry_on_error": [redis.ConnectionError]}
    progress.redis.ping()
    with contextlib.closing(RedisProgress(port=cutting.port, **keywords)) as opened:
        yield opened


def test_a_creation_whose_answer_is_lost_leaves_the_whole_job(far, cutting, monkeypatch):
    create(far, "before", 1)
    ask = far.ask

    def lost(verb, *rest):
        cutting.lose = verb == "create"
        return ask(verb, *rest)

    monkeypatch.setattr(far, "ask", lost)

    create(far, "job", 3)

    assert [part.payload for part in far.pending("job")] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_the_last_part_is_told_although_the_first_answer_was_lost(far, cutting):
    create(far, "job", 2)
    far.complete("job", "0")
    far.redis.ping()

    cutting.lose = True
    last = far.complete("job", "1")

    assert isinstance(last, LastPart)
    assert far.complete("job", "1") == AlreadyDone()
    assert far.confirm_reduce(last.reduce)


def test_a_claim_is_told_although_the_first_answer_was_lost(far, cutting):
    create(far, "job", 0)

    cutting.lose = True
    claim = far.claim_reduce("job")

    assert claim.attempt == 1
    assert far.claim_reduce("job") is None


def low_port():
    """Find a free port, of which the cluster uses the one ten thousand above, too."""
    for port in range(20_000, 30_000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    return pytest.fail("no port is free")


def test_a_server_of_a_cluster_keeps_jobs_too(redis_command):
    command, port = redis_command[0], low_port()
    more = ["--port", str(port), "--cluster-enabled", "yes"]
    server = subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL)
    try:
        with contextlib.closing(RedisProgress(port=port)) as progress:
            answers(progress)
            progress.redis.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
            wait_for_cluster(progress)
            create(progress, "job", 2)
            progress.complete("job", "0")

            assert isinstance(progress.complete("job", "1"), LastPart)
            assert [job.id for job in progress.jobs()] == ["job"]
            progress.delete("job")
            assert progress.jobs() == []
    finally:
        server.terminate()
        server.wait()


def wait_for_cluster(progress):
    until = time.monotonic() + 30
    while "cluster_state:ok" not in str(progress.redis.execute_command("CLUSTER", "INFO")):
        assert time.monotonic() < until, "the cluster does not form"
        time.sleep(0.02)
