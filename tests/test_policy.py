import errno
import http.client
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumed.errors import PermanentError, TransientError
from resumed.policy import (
    STOP_REQUESTED,
    Interrupted,
    Policy,
    is_environment,
    qualified_names,
    retry,
)
from resumed.settings import RetryPolicy


def policy(*, draw=0.0, **settings):
    return Policy(RetryPolicy(**settings), uniform=lambda low, high: low + draw * (high - low))


def test_waits_double_up_to_the_longest():
    waits = [policy(max_attempts=9, max_seconds=100).after(n) for n in range(1, 10)]

    assert waits == [10, 20, 40, 80, 100, 100, 100, 100, None]


def test_jitter_is_added_to_each_wait_also_to_the_longest():
    at_most = policy(draw=1.0, max_attempts=9, max_seconds=100, jitter_seconds=3)

    assert [at_most.after(n) for n in (1, 2, 8)] == [13, 23, 103]
    assert at_most.spread_seconds() == 3


def test_one_attempt_means_no_wait():
    assert policy(max_attempts=1).after(1) is None


@given(st.integers(1, 10**6), st.integers(1, 10**7))
def test_any_number_of_failures_has_an_answer(failures, max_attempts):
    wait = Policy(RetryPolicy(max_attempts=max_attempts)).after(failures)

    assert (wait is None) == (failures >= max_attempts)
    assert wait is None or 10 <= wait <= 3605


def test_jitter_is_random_by_default():
    random.seed(1)
    one = Policy(RetryPolicy())

    assert len({one.after(1) for _ in range(20)}) > 1


class BusyError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError,
        BrokenPipeError,
        TimeoutError,
        socket.gaierror,
        http.client.RemoteDisconnected,
        http.client.IncompleteRead,
        urllib.error.URLError,
        subprocess.TimeoutExpired,
        TransientError,
        type("Mine", (TransientError,), {}),
    ],
)
def test_what_concerns_the_network_may_pass(error):
    assert policy().is_transient(qualified_names(error))


@pytest.mark.parametrize(
    "names",
    [
        ["requests.exceptions.ReadTimeout", "requests.exceptions.Timeout"],
        ["httpx.ConnectError", "httpx.NetworkError", "httpx.TransportError"],
        ["botocore.exceptions.EndpointConnectionError", "botocore.exceptions.ConnectionError"],
        ["redis.exceptions.BusyLoadingError", "redis.exceptions.ConnectionError"],
        ["urllib3.exceptions.MaxRetryError"],
    ],
)
def test_libraries_are_known_by_name_without_being_installed(names):
    assert policy().is_transient([*names, "builtins.Exception", "builtins.object"])


@pytest.mark.parametrize(
    "error",
    [
        ValueError,
        FileNotFoundError,
        KeyError,
        MemoryError,
        PermanentError,
        urllib.error.HTTPError,
        type("Never", (PermanentError, ConnectionError), {}),
    ],
)
def test_everything_else_cannot(error):
    assert not policy().is_transient(qualified_names(error))


def test_the_nearest_class_with_a_verdict_decides():
    assert not policy().is_transient(
        ["redis.exceptions.AuthenticationError", "redis.exceptions.ConnectionError"]
    )


def test_an_unreachable_network_is_a_plain_os_error_with_its_number():
    names = qualified_names(OSError)

    assert policy().is_transient(names, errno.ENETUNREACH)
    assert not policy().is_transient(names, errno.ENOENT)
    assert not policy().is_transient(names)


def test_retry_on_adds_exceptions_by_the_name_that_people_import():
    mine = policy(retry_on=("LookupError", "shop.Busy"))

    assert mine.is_transient(qualified_names(KeyError))
    assert mine.is_transient(["shop.errors.Busy", "builtins.Exception"])
    assert not mine.is_transient(["other.Busy", "builtins.Exception"])
    assert not mine.is_transient(qualified_names(BusyError))


def test_a_full_or_read_only_disk_is_not_the_item_s_fault():
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        assert is_environment(number)
        assert policy().is_environment(number)
    assert not is_environment(errno.EACCES)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (0, "done"),
        (1, "transient"),
        (75, "transient"),
        (111, "transient"),
        (-9, "transient"),
        (64, "permanent"),
        (78, "permanent"),
        (100, "permanent"),
        (79, "transient"),
    ],
)
def test_exit_statuses_mean_what_sysexits_and_qmail_say(code, verdict):
    assert policy().exit_verdict(code) == verdict


def test_the_user_overrules_them():
    mine = policy(transient_exits=frozenset({65}), permanent_exits=frozenset({1, 75}))

    assert [mine.exit_verdict(code) for code in (65, 1, 75, 64, 2)] == [
        *("transient", "permanent", "permanent", "permanent", "transient")
    ]


class Flaky:
    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, value):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return value


def decorated(flaky, **settings):
    @retry(base=0.001, **settings)
    def call(value):
        return flaky(value)

    return call


def test_a_flaky_call_is_repeated_until_it_succeeds():
    flaky = Flaky(ConnectionError(), OSError(errno.EHOSTUNREACH, "no route"))

    assert decorated(flaky)(7) == 7
    assert flaky.calls == 3


def test_the_last_error_is_raised_as_itself():
    flaky = Flaky(*(TransientError(str(n)) for n in range(9)))

    with pytest.raises(TransientError, match="2"):
        decorated(flaky, attempts=3)(7)
    assert flaky.calls == 3


def test_an_error_that_cannot_pass_is_raised_at_once():
    flaky = Flaky(ValueError("seven"))

    with pytest.raises(ValueError, match="seven"):
        decorated(flaky)(7)
    assert flaky.calls == 1


def test_the_caller_may_say_which_errors_pass():
    flaky = Flaky(BusyError(), ConnectionError())

    with pytest.raises(ConnectionError):
        decorated(flaky, exceptions=BusyError)(7)
    assert flaky.calls == 2


def test_the_decorator_needs_no_arguments_and_keeps_the_name():
    @retry
    def search():
        """Look it up."""
        return 1

    assert search() == 1
    assert (search.__name__, search.__doc__) == ("search", "Look it up.")


def test_what_is_not_called_at_once_is_refused():
    async def later():
        pass

    with pytest.raises(TypeError, match="later: retry works on plain functions only"):
        retry(later)


def in_context(stop, call):
    def run():
        STOP_REQUESTED.set(stop)
        return call()

    return copy_context().run(run)


def test_a_stop_ends_the_wait_at_once_and_burns_no_attempt():
    flaky = Flaky(*(ConnectionError() for _ in range(9)))
    stop = threading.Event()

    @retry(base=30)
    def call():
        flaky(7)

    threading.Timer(0.05, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        in_context(stop, call)

    assert time.monotonic() - began < 10
    assert flaky.calls == 1


def test_a_stop_passes_through_an_outer_retry():
    flaky = Flaky(*(ConnectionError() for _ in range(9)))
    stop = threading.Event()
    stop.set()
    outer = retry(base=30)(retry(base=30)(flaky.__call__))

    with pytest.raises(Interrupted):
        in_context(stop, lambda: outer(7))
    assert flaky.calls == 1


def test_without_a_stop_the_waits_are_waited_out():
    flaky = Flaky(ConnectionError())

    assert in_context(threading.Event(), lambda: decorated(flaky)(7)) == 7


def test_importing_it_does_not_load_tenacity():
    program = "import sys, resumed.policy; sys.exit('tenacity' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
