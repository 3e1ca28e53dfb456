"""Kill the Redis server, and look at what is peculiar to it."""

import contextlib
import os
import signal
import subprocess
import time

import pytest

if os.environ.get("CI") != "true":
    pytest.importorskip("redis", reason="pip install redis")

import redis

from resumed.progress.parts import Parts
from resumed.progress.redis import RedisProgress
from resumed.progress.states import Ended, LastPart, ReduceClaimed


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
