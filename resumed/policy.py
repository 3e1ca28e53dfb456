"""Decide whether a failure may pass, and how long to wait before the next attempt.

`Policy` answers the daemon, which schedules attempts and never sleeps. `retry` is the same
policy for one flaky call inside a handler, where sleeping is right.

What may pass is decided by names, not by classes: the exception happened in another
process, and its library may not even be installed here. The nearest class with a verdict
decides, so that a kind of connection error that cannot pass, such as a refused password,
is not taken for one that can.

This module is the only home of tenacity, which is loaded when a policy is first made:
every worker imports the module, and few need one.
"""

import errno as errnos
import functools
import inspect
import random
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from resumed.settings import RetryPolicy

if TYPE_CHECKING:
    import tenacity

P = ParamSpec("P")
R = TypeVar("R")
ExitVerdict: TypeAlias = Literal["done", "transient", "permanent"]
Classes: TypeAlias = type[Exception] | tuple[type[Exception], ...]

TRANSIENT_EXITS = frozenset({75, 111})
PERMANENT_EXITS = frozenset({100, *range(64, 79)}) - TRANSIENT_EXITS

_ENVIRONMENT = frozenset({errnos.ENOSPC, errnos.EDQUOT, errnos.EROFS})
_NETWORK = frozenset(
    {errnos.ENETDOWN, errnos.ENETUNREACH, errnos.ENETRESET, errnos.EHOSTDOWN, errnos.EHOSTUNREACH}
)

# By top-level package and class name: the modules between them move from release to release.
_TRANSIENT = {
    (package, name)
    for package, names in {
        "aiohttp": "ClientConnectionError ClientPayloadError",
        "azure": "ServiceRequestError ServiceResponseError",
        "boto3": "S3UploadFailedError",
        "botocore": "ConnectionError HTTPClientError",
        "builtins": "ConnectionError TimeoutError",
        "ftplib": "error_temp",
        "google": "RetryError ServerError TooManyRequests TransportError",
        "http": "BadStatusLine IncompleteRead",
        "httpcore": "NetworkError RemoteProtocolError TimeoutException",
        "httpx": "TransportError",
        "imaplib": "abort",
        "paramiko": "ChannelException NoValidConnectionsError",
        "pika": "AMQPConnectionError",
        "psycopg": "OperationalError",
        "psycopg2": "OperationalError",
        "pymongo": "AutoReconnect ServerSelectionTimeoutError",
        "redis": "ConnectionError TimeoutError TryAgainError",
        "requests": "ChunkedEncodingError ConnectionError Timeout",
        "resumed": "TransientError",
        "smtplib": "SMTPConnectError SMTPServerDisconnected",
        "socket": "gaierror",
        "subprocess": "TimeoutExpired",
        "urllib": "ContentTooShortError URLError",
        "urllib3": "IncompleteRead MaxRetryError NewConnectionError ProtocolError TimeoutError",
        "websockets": "ConnectionClosedError",
    }.items()
    for name in names.split()
}
# Kinds of the above that no waiting mends.
_PERMANENT = {
    (package, name)
    for package, names in {
        "httpx": "LocalProtocolError UnsupportedProtocol",
        "redis": "AuthenticationError AuthorizationError",
        "resumed": "PermanentError",
        "urllib": "HTTPError",
    }.items()
    for name in names.split()
}


class Interrupted(BaseException):
    """Leave a handler because the daemon was asked to stop; the attempt does not count."""


class Stop(Protocol):
    """What tells a waiting handler that the daemon was asked to stop; an Event is one."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the stop, at most *timeout* seconds, and tell whether it came."""
        ...


STOP_REQUESTED: ContextVar[Stop | None] = ContextVar("STOP_REQUESTED", default=None)
"""Set by the worker around each attempt. Without it, as in a program of its own, `retry`
just sleeps. A thread that a handler starts sees it only if given the handler's context."""


def qualified_names(error: type[BaseException]) -> tuple[str, ...]:
    """Name an exception's class and all that it derives from, the nearest first."""
    return tuple(f"{one.__module__}.{one.__qualname__}" for one in error.__mro__)


def is_environment(errno: int) -> bool:
    """Tell whether a full or read-only disk is to blame, and not the item."""
    return errno in _ENVIRONMENT


class Policy:
    """Answer for one configuration. *uniform* draws a number between two, for the jitter."""

    def __init__(
        self,
        settings: RetryPolicy,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        import tenacity  # noqa: PLC0415 - see the module's docstring

        self._settings = settings
        self._uniform = uniform
        self._retry_on = frozenset(map(_key, settings.retry_on))
        self._transient_exits = settings.transient_exits
        self._permanent_exits = settings.permanent_exits
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(settings.max_attempts),
            wait=tenacity.wait_exponential(
                multiplier=settings.initial_seconds, max=settings.max_seconds
            ),
        )

    def after(self, failures: int) -> float | None:
        """Return the seconds to wait after so many failures, None when they are used up."""
        state = self._state(failures)
        if self._retrying.stop(state):
            return None
        return float(self._retrying.wait(state)) + self.spread_seconds()

    def spread_seconds(self) -> float:
        """Draw a delay that keeps apart what would otherwise come at once."""
        return self._uniform(0.0, self._settings.jitter_seconds)

    def is_transient(self, qualified_names: Sequence[str], errno: int | None = None) -> bool:
        """Tell whether an exception with these class names is worth another attempt.

        The names are as `qualified_names` gives them. *errno* helps with what is a plain
        OSError only, such as an unreachable network.
        """
        return _may_pass(qualified_names, errno, self._retry_on)

    def exit_verdict(self, code: int) -> ExitVerdict:
        """Tell what a command's exit status means; a signal's negative one is transient.

        What nobody has given a meaning may pass, as qmail has it: attempts are bounded.
        """
        if code == 0:
            return "done"
        if code in self._permanent_exits:
            return "permanent"
        known = code in PERMANENT_EXITS and code not in self._transient_exits
        return "permanent" if known else "transient"

    def is_environment(self, errno: int) -> bool:
        """Tell whether a full or read-only disk is to blame, and not the item."""
        return is_environment(errno)

    def _state(self, failures: int) -> "tenacity.RetryCallState":
        """Make up the call that tenacity's objects are asked about."""
        import tenacity  # noqa: PLC0415 - see the module's docstring

        state = tenacity.RetryCallState(self._retrying, fn=None, args=(), kwargs={})
        state.attempt_number = failures
        return state


@overload
def retry(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def retry(
    *,
    attempts: int = ...,
    base: float = ...,
    longest: float = ...,
    exceptions: Classes | None = ...,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def retry(
    function: Callable[P, R] | None = None,
    /,
    *,
    attempts: int = 5,
    base: float = 1.0,
    longest: float = 60.0,
    exceptions: Classes | None = None,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Call a flaky function up to *attempts* times, as ``@retry`` or ``@retry(attempts=3)``.

    The waits start at *base* seconds and double up to *longest*, with jitter. Without
    *exceptions*, those that may pass are retried, as the daemon would. When the daemon is
    asked to stop during a wait, `Interrupted` leaves the handler at once: what remains of
    the attempts is kept for the next start, where the recorded steps are skipped.

    Raises:
        TypeError: The function is asynchronous or a generator.
    """
    if function is None:
        return functools.partial(
            _decorated, attempts=attempts, base=base, longest=longest, exceptions=exceptions
        )
    return _decorated(
        function, attempts=attempts, base=base, longest=longest, exceptions=exceptions
    )


def _decorated(
    function: Callable[P, R],
    *,
    attempts: int,
    base: float,
    longest: float,
    exceptions: Classes | None,
) -> Callable[P, R]:
    lazy = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(kind(function) for kind in lazy):
        raise TypeError(f"{function.__qualname__}: retry works on plain functions only")

    def worth_another(error: BaseException) -> bool:
        if exceptions is not None:
            return isinstance(error, exceptions)
        return _may_pass(qualified_names(type(error)), getattr(error, "errno", None))

    @functools.wraps(function)
    def retried(*args: P.args, **kwargs: P.kwargs) -> R:
        import tenacity  # noqa: PLC0415 - see the module's docstring

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_exponential(base, longest) + tenacity.wait_random(0, base),
            retry=tenacity.retry_if_exception(worth_another),
            sleep=_sleep,
            reraise=True,
        )
        return retrying(function, *args, **kwargs)

    return retried


def _sleep(seconds: float) -> None:
    """Wait for the next attempt, or leave when the daemon is asked to stop.

    Returning early instead would burn the remaining attempts, one right after another.
    """
    stop = STOP_REQUESTED.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise Interrupted


def _may_pass(
    names: Sequence[str],
    errno: int | None,
    retry_on: frozenset[tuple[str, str]] = frozenset(),
) -> bool:
    for key in map(_key, names):
        if key in retry_on or key in _TRANSIENT:
            return True
        if key in _PERMANENT:
            return False
    return errno in _NETWORK


def names_any(wanted: Sequence[str], qualified_names: Sequence[str]) -> bool:
    """Tell whether one of an exception's classes is *wanted*."""
    return bool(wanted) and not {*map(_key, wanted)}.isdisjoint(map(_key, qualified_names))


def _key(name: str) -> tuple[str, str]:
    """Reduce a qualified name to what stays the same when a library moves its modules."""
    package, _, rest = name.partition(".")
    return (package, rest.rpartition(".")[2]) if rest else ("builtins", package)
