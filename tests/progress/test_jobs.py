"""Create jobs and work on their parts, as people do who know `watchbot_progress`."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from resumed import jobs
from resumed.jobs import Part, create_job, resend
from resumed.model import Fault, Pending
from resumed.progress.errors import (
    JobDoesNotExist,
    JobExists,
    JobFailed,
    PartGivenUp,
    PartLeased,
    ProgressTypeError,
)
from resumed.progress.states import Ended, Open, PartFailed, ReduceDue


class Sent(list):
    """Remember messages, as a hand-off."""

    def __call__(self, subject, messages):
        self.extend((subject, message) for message in messages)

    def of(self, subject):
        return [message for each, message in self if each == subject]


@pytest.fixture
def sent():
    return Sent()


@pytest.fixture
def keeper(backend, clock):
    return backend.open(clock=clock)


def test_every_part_is_sent_and_the_last_one_sends_the_reduce(keeper, sent):
    jobid = create_job([{"src": "a"}, {"src": "b"}], progress=keeper, send=sent, metadata={"n": 1})

    assert sorted(sent.of("map"), key=lambda message: message["partid"]) == [
        {"src": "a", "partid": 0, "jobid": jobid, "metadata": {"n": 1}},
        {"src": "b", "partid": 1, "jobid": jobid, "metadata": {"n": 1}},
    ]
    for message in sent.of("map"):
        assert sent.of("reduce") == []
        with Part(**message, progress=keeper, send=sent) as part:
            assert part.payload["src"] == message["src"]
            part.result = message["src"].upper()

    key = keeper.job(jobid).key
    assert sent.of("reduce") == [{"jobid": jobid, "metadata": {"n": 1}, "key": key}]
    assert isinstance(keeper.job(jobid).state, Ended)
    assert list(keeper.results(jobid)) == [("0", "A"), ("1", "B")]


def test_a_job_takes_its_id_from_the_caller_once(keeper, sent):
    assert create_job([{}], "mine", progress=keeper, send=sent) == "mine"
    assert create_job([{}], 7, progress=keeper, send=sent) == "7"

    with pytest.raises(JobExists):
        create_job([{}, {}], "mine", progress=keeper, send=sent)

    assert len(sent) == 2


def test_a_job_without_parts_is_reduced_at_once(keeper, sent):
    jobid = create_job(iter(()), progress=keeper, send=sent)

    assert [subject for subject, _ in sent] == ["reduce"]
    assert isinstance(keeper.job(jobid).state, Ended)


def test_parts_that_are_no_objects_are_refused_before_anything_is_written(keeper, sent):
    for parts in ([{"fine": 1}, "no"], [{"a": {1, 2}}], [{"id": 1}, {"id": 1}], [{"id": None}]):
        named = {"id_field": "id"} if "id" in parts[0] else {}
        with pytest.raises(ProgressTypeError):
            create_job(parts, progress=keeper, send=sent, **named)

    def dies():
        yield {"fine": 1}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create_job(dies(), progress=keeper, send=sent)
    assert (keeper.jobs(), sent) == ([], [])


def test_what_is_no_backend_is_refused(sent):
    for call in (lambda: create_job([], progress="redis", send=sent), lambda: Part(1, 2, object())):
        with pytest.raises(ProgressTypeError, match="backend"):
            call()


def test_without_anywhere_to_send_nothing_is_written(monkeypatch, backend):
    monkeypatch.delenv("WorkTopic", raising=False)
    keeper = backend.open()

    with pytest.raises(ProgressTypeError, match="WorkTopic"):
        create_job([{}], progress=keeper)
    with pytest.raises(ProgressTypeError, match="WorkTopic"):
        Part("job", 0, keeper)

    assert keeper.jobs() == []


def test_a_sender_that_fails_is_heard_and_resend_goes_on(keeper, sent):
    def broken(_subject, _messages):
        raise ConnectionError("topic is down")

    with pytest.raises(ConnectionError) as heard:
        create_job([{"n": 0}, {"n": 1}], "job", progress=keeper, send=broken)
    assert "resend" in heard.value.__notes__[0]
    keeper.complete("job", "0")

    assert resend("job", keeper, send=sent) == 1
    assert sent == [("map", {"n": 1, "partid": 1, "jobid": "job", "metadata": None})]


def test_resend_sends_a_reduce_that_nobody_confirmed(keeper, sent, clock):
    create_job([{}], "job", progress=keeper, send=sent)
    key = keeper.complete("job", "0", seconds=10).reduce.key
    assert resend("job", keeper, send=sent) == 0

    clock.now += 11

    assert resend("job", keeper, send=sent) == 1
    assert sent.of("reduce") == [{"jobid": "job", "metadata": {}, "key": key}]
    assert isinstance(keeper.job("job").state, Ended)


def test_an_exception_gives_the_part_back_and_goes_on(keeper, sent):
    create_job([{}], "job", progress=keeper, send=sent)

    with pytest.raises(ValueError, match="bad pixel"), Part("job", 0, keeper, send=sent):
        raise ValueError("bad pixel")

    part = keeper.part("job", "0")
    assert (part.state, part.fault) == (Pending(), Fault("builtins.ValueError", "bad pixel"))
    assert keeper.job("job").state == Open()


def test_the_last_attempt_fails_the_part_for_good(keeper, sent):
    create_job([{}], "job", progress=keeper, send=sent)
    for _ in range(2):
        with pytest.raises(ValueError), Part("job", 0, keeper, send=sent, max_attempts=2):  # noqa: PT011 - raised here
            raise ValueError

    assert keeper.part("job", "0").state == PartFailed()
    with pytest.raises(PartGivenUp), Part("job", 0, keeper, send=sent):
        pytest.fail("a part that was given up ran")


def test_a_part_whose_workers_die_is_given_up_too(keeper, sent, clock):
    create_job([{}], "job", progress=keeper, send=sent)
    for _ in range(2):
        keeper.begin("job", "0", seconds=1)
        clock.now += 2

    with pytest.raises(PartGivenUp), Part("job", 0, keeper, send=sent, max_attempts=2):
        pytest.fail("a part that kills its workers ran again")

    assert keeper.part("job", "0").fault.kind == "crashed"


def test_an_interrupted_part_is_free_at_once(keeper, sent):
    create_job([{}], "job", progress=keeper, send=sent)

    with pytest.raises(KeyboardInterrupt), Part("job", 0, keeper, send=sent, max_attempts=1):
        raise KeyboardInterrupt

    assert keeper.part("job", "0").state == Pending()


def test_named_exceptions_fail_the_job_and_others_are_refused_before_their_work(keeper, sent):
    create_job([{}, {}], "job", progress=keeper, send=sent)

    with Part("job", 0, keeper, fail_job_on=OSError, send=sent):
        pass  # a healthy job is not refused
    with pytest.raises(FileNotFoundError), Part("job", 1, keeper, (OSError,), send=sent):
        raise FileNotFoundError("no such raster")

    reason = keeper.job("job").state
    assert (reason.kind, reason.text) == ("builtins.FileNotFoundError", "no such raster")
    assert (reason.part, reason.attempt) == ("1", 1)
    with pytest.raises(JobFailed, match="no such raster"), Part("job", 1, keeper, send=sent):
        pytest.fail("a part of a failed job ran")
    assert sent.of("reduce") == []


def test_a_second_delivery_at_the_same_time_is_refused(keeper, sent):
    create_job([{}], "job", progress=keeper, send=sent)

    with (
        Part("job", 0, keeper, send=sent),
        pytest.raises(PartLeased),
        Part("job", 0, keeper, send=sent),
    ):
        pytest.fail("two ran at once")

    assert len(sent.of("reduce")) == 1


def test_a_later_delivery_knows_that_the_part_is_done(keeper, sent):
    create_job([{}], "job", progress=keeper, send=sent)
    with Part("job", 0, keeper, send=sent) as part:
        part.result = "first"
        assert (part.done, part.attempt) == (False, 1)

    with Part("job", 0, keeper, send=sent) as part:
        assert (part.done, part.payload, part.attempt) == (True, None, 0)
        part.result = "second"
    with pytest.raises(ValueError), Part("job", 0, keeper, send=sent):  # noqa: PT011 - raised here
        raise ValueError

    assert list(keeper.results("job")) == [("0", "first")]
    assert len(sent.of("reduce")) == 1


def test_a_decorated_function_is_skipped_when_its_part_is_done(keeper, sent):
    create_job([{}], "job", progress=keeper, send=sent)
    ran = []

    @Part("job", 0, keeper, send=sent)
    def work(value):
        """Do it."""
        ran.append(value)
        return value

    assert (work(1), work(2)) == (1, None)
    assert (ran, work.__doc__) == ([1], "Do it.")


def test_a_reduce_that_cannot_be_sent_is_free_for_the_next_delivery(keeper, sent):
    create_job([{}], "job", progress=keeper, send=sent)

    def broken(_subject, _messages):
        raise ConnectionError("topic is down")

    with pytest.raises(ConnectionError), Part("job", 0, keeper, send=broken):
        pass
    assert keeper.job("job").state == ReduceDue()
    with Part("job", 0, keeper, send=sent):
        pass

    assert len(sent.of("reduce")) == 1


def test_on_reduce_is_called_in_place_of_sending(backend, sent, monkeypatch):
    monkeypatch.setenv("WorkTopic", "arn:work")
    keeper = backend.open()
    create_job([{}], "job", progress=keeper, send=sent, metadata={"a": 1})
    calls = []

    def on_reduce(message, topic, subject=None):
        calls.append((message["jobid"], message["metadata"], topic, subject))

    with Part("job", 0, keeper, on_reduce=on_reduce):
        pass

    assert calls == [("job", {"a": 1}, "arn:work", "reduce")]
    assert sent.of("reduce") == []


def test_a_job_may_be_deleted_when_it_is_done(backend, sent):
    keeper = backend.open(delete_when_done=True)
    create_job([{}], "job", progress=keeper, send=sent)

    with Part("job", 0, keeper, send=sent):
        pass

    assert len(sent.of("reduce")) == 1
    with pytest.raises(JobDoesNotExist):
        keeper.job("job")


def test_four_deliveries_of_the_last_part_at_once_send_one_reduce(backend, sent):
    keeper = backend.open()
    names = [f"job-{number}" for number in range(5 if backend.kind == "dynamodb" else 50)]
    for name in names:
        create_job([{}], name, progress=keeper, send=lambda *_: None)

    def on_reduce(message, _topic, subject=None):
        time.sleep(0.02)
        sent.append((subject, message["jobid"]))

    def deliver(name):
        try:
            with Part(name, 0, keeper, on_reduce=on_reduce):
                pass
        except PartLeased:
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(deliver, [name for name in names for _ in range(4)]))

    assert sorted(sent.of("reduce")) == sorted(names)


def test_a_long_part_keeps_its_lease_and_learns_that_its_job_failed(backend, sent):
    keeper = backend.open()
    create_job([{}], "job", progress=keeper, send=sent)

    with Part("job", 0, keeper, send=sent, seconds=2) as part:
        first = keeper.part("job", "0").state.until_at
        wait_until(lambda: keeper.part("job", "0").state.until_at > first + 0.3)
        assert part.lost is None
        keeper.fail_job("job", jobs.JobFault("builtins.OSError", "disk", None, 1, 0.0))
        wait_until(lambda: part.lost)

    assert isinstance(part.lost, JobFailed)
    assert keeper.job("job").done == 1


KILLED = """
import os, signal
from resumed.jobs import Part
def on_reduce(message, topic, subject=None):
    if sys.argv[3] == "sent":
        open(sys.argv[2], "w").write(message["key"])
    os.kill(os.getpid(), signal.SIGKILL)
with Part("job", 0, progress, on_reduce=on_reduce, seconds=0.5):
    if sys.argv[3] == "working":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["working", "sending", "sent"])
def test_a_killed_workers_part_and_reduce_come_back(backend, sent, tmp_path, moment):
    keeper = backend.open()
    create_job([{}], "job", progress=keeper, send=sent)
    key, told = keeper.job("job").key, tmp_path / "told"

    worker = backend.process(KILLED, str(told), moment)
    worker.communicate()
    assert worker.returncode == -9
    assert keeper.job("job").done == (moment != "working")
    assert not isinstance(keeper.job("job").state, Ended)

    def deliver():
        try:
            with Part("job", 0, keeper, send=sent):
                return True
        except PartLeased:
            return False

    wait_until(deliver)
    wait_until(lambda: deliver() and sent.of("reduce"))
    assert [message["key"] for message in sent.of("reduce")] == [key]
    assert isinstance(keeper.job("job").state, Ended)
    assert told.exists() == (moment == "sent")
    assert keeper.part("job", "0").attempts == (2 if moment == "working" else 1)


def test_backends_are_loaded_when_they_are_asked_for():
    assert jobs.EmbeddedProgress.__name__ == "EmbeddedProgress"
    with pytest.raises(AttributeError):
        _ = jobs.MemcachedProgress


def test_the_default_is_embedded_in_the_folder_that_the_environment_names(
    tmp_path, monkeypatch, sent
):
    monkeypatch.delenv("RESUMED_JOBS", raising=False)
    with pytest.raises(ProgressTypeError, match="RESUMED_JOBS"):
        create_job([{}], send=sent)

    monkeypatch.setenv("RESUMED_JOBS", str(tmp_path / "jobs"))
    jobid = create_job([{}], send=sent)
    with Part(jobid, 0, send=sent):
        pass

    assert len(sent.of("reduce")) == 1
    assert (tmp_path / "jobs" / f"{jobid}.jsonl").exists()


def wait_until(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        threading.Event().wait(0.01)
