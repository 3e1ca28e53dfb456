"""Turn the handler of a configuration into something that can be called with an item.

A function is imported, a command is run, and several steps are run in their order, those
that are recorded left out; the result is that of the last one. A command finds everything
about its item in its arguments and in ``RESUMED_*``; what it prints on standard output is its
result if that is one JSON value, and every file that it leaves in ``$RESUMED_OUT`` is published.
"""

import importlib
import inspect
import json
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from resumed import command, wire
from resumed.item import Item
from resumed.model import JSON, Record
from resumed.reduction import Job
from resumed.settings import Command

Part: TypeAlias = Callable[[Item], Any]

_LONGEST_VARIABLE_BYTES = 100 << 10
_TAIL_BYTES = 4096
_STANDARD_ERROR = 2


class LoadError(Exception):
    """Say that a handler cannot be imported."""


class ExitError(Exception):
    """Say that a command ended badly: its exit status, or a signal's number as negative."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Program:
    """The whole handler, ready to be called."""

    def __init__(self, steps: list[Record]) -> None:
        """Import what *steps*, of the frame ``load``, name.

        Raises:
            LoadError: A function cannot be imported, or does not take one argument.
        """
        self.starting = threading.Lock()
        self.has_commands = any("argv" in step for step in steps)
        # Where no function runs, nobody changes it; to read it takes a tenth of a command's time.
        only_commands = all("argv" in step for step in steps)
        self._environ = dict(os.environ) if only_commands else os.environ
        self._parts = [(step["step"], self._part(step)) for step in steps]

    def __call__(self, item: Item) -> Any:  # noqa: ANN401 - whatever the handler returns
        """Run the handler on *item*."""
        result: Any = None
        for name, part in self._parts:
            result = part(item) if name is None else item.step(name, part, item)
        return result

    def _part(self, step: Record) -> Part:
        if "argv" in step:
            command = Command(tuple(step["argv"]))
            return CommandPart(command, step["step"], self.starting, self._environ)
        return load(step["module"], step["function"])


class CommandPart:
    """One command, to be run for any item."""

    def __init__(
        self,
        run: Command,
        step: str | None,
        starting: threading.Lock,
        environ: Mapping[str, str],
    ) -> None:
        self._command = run
        self._step = step
        self._starting = starting
        self._environ = environ

    def __call__(self, item: Item) -> JSON:
        """Run the command and return its result.

        Raises:
            ExitError: It ended badly.
            MissingError: There is no such program.
        """
        values = _values(item)
        part = b"" if item.part is None else wire.encode_json(item.part).encode("ascii") + b"\n"
        ended = command.run(
            self._command.filled(values),
            _environ(item, self._environ, values, self._step, part),
            feed=item.results_path if isinstance(item, Job) else part,
            keep_bytes=wire.RESULT_LIMIT_BYTES,
            starting=self._starting,
        )
        if ended.status:
            # Many programs complain on standard output; the end of it helps whoever looks.
            os.write(_STANDARD_ERROR, ended.output[-_TAIL_BYTES:])
            raise ExitError(ended.status)
        item.collect()
        return None if ended.cut else _result(ended.output)


def load(module: str, function: str) -> Part:
    """Import *module* and return its *function*.

    Raises:
        LoadError: It is not there, is none of one argument, or the import failed.
    """
    try:
        found = importlib.import_module(module)
    except BaseException as error:
        raise LoadError(_story(error)) from error
    called = getattr(found, function, None)
    if not callable(called):
        place = getattr(found, "__file__", None) or module  # a folder has none, nor has `sys`
        raise LoadError(f"{place}: no function {function!r} in it")
    try:
        inspect.signature(called).bind(None)
    except TypeError as error:
        raise LoadError(f"{module}:{function} must take one argument: {error}") from error
    except ValueError:
        pass  # written in C without a signature: the first item will tell
    part: Part = called
    return part


def _story(error: BaseException) -> str:
    """Say where an import failed, and how, on one line."""
    place = ""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}: "
    elif trace := error.__traceback__:
        while trace.tb_next:
            trace = trace.tb_next
        if "importlib" not in trace.tb_frame.f_code.co_filename:
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}: "
    text = error.msg if isinstance(error, SyntaxError) else error
    return f"{place}{type(error).__name__}: {text}"[: wire.TEXT_LIMIT]


def _values(item: Item) -> dict[str, str]:
    return {
        "path": str(item.path),
        "name": item.name,
        "id": item.id,
        "key": item.key,
        "attempt": str(item.attempt),
        "workdir": str(item.workdir),
        "out": str(item.offer()),
    }


def _environ(
    item: Item, base: Mapping[str, str], values: dict[str, str], step: str | None, part: bytes
) -> dict[str, str]:
    environ = dict(base)
    environ.update((f"RESUMED_{name.upper()}", value) for name, value in values.items())
    if step is not None:
        environ["RESUMED_STEP"] = step
    if item.job is not None:
        environ["RESUMED_JOB"] = item.job
    # One variable holds 128 KiB at most; standard input has the part in any case, and the
    # first line of the file the metadata.
    if isinstance(item, Job):
        metadata = wire.encode_json(item.metadata)
        if len(metadata) <= _LONGEST_VARIABLE_BYTES:
            environ["RESUMED_METADATA"] = metadata
    elif item.job is not None and len(part) <= _LONGEST_VARIABLE_BYTES:
        environ["RESUMED_PART"] = part.decode("ascii").rstrip("\n")
    return environ


def _result(output: bytes) -> JSON:
    """Return the one JSON value that *output* is, else None."""
    if not output.strip():
        return None
    try:
        return wire.plain(json.loads(output))
    except (ValueError, RecursionError):
        return None
