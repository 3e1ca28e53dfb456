"""Give a handler what it needs to know and to say about the item that it works on.

A handler is a function of one argument, an `Item`::

    def process(item):
        hits = item.step("search", reverse_image_search, item.path)
        item.step("watermark", watermark, item.path, item.output("marked.jpg"))
        return {"hits": len(hits)}

When `Item.step` returns, the step is recorded and survives a power cut: no later attempt calls
its function again while the file is the same file. Everything else in a handler may happen
more than once, and `Item.key` is the same each time, for services that can tell.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from resumed import wire
from resumed.errors import PermanentError
from resumed.model import JSON
from resumed.output import Outputs, sync_tree
from resumed.scratch import Scratch
from resumed.wire import Assignment

PROGRESS_SECONDS = 0.2
_LONGEST_STEP_NAME = 100

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Teller(Protocol):
    """Whoever takes what an attempt has to say."""

    def reached(self, step: str) -> None:
        """Note that *step* is about to run."""
        ...

    def record(self, step: str, result: JSON) -> None:
        """Return when the step is recorded, durably."""
        ...

    def progress(self, done: float, total: float | None) -> None:
        """Show how far the attempt is; nothing depends on it."""
        ...


class Log:
    """Write lines to standard error, whose end is kept with a failure."""

    def debug(self, message: str, *values: object) -> None:
        """Say what only helps to find a fault."""
        self._write("debug", message, values)

    def info(self, message: str, *values: object) -> None:
        """Say what happened."""
        self._write("info", message, values)

    def warning(self, message: str, *values: object) -> None:
        """Say what somebody may want to look at."""
        self._write("warning", message, values)

    def error(self, message: str, *values: object) -> None:
        """Say what went wrong."""
        self._write("error", message, values)

    def _write(self, level: str, message: str, values: tuple[object, ...]) -> None:
        text = message % values if values else message
        sys.stderr.write(f"{level}: {text}\n")


class Item:
    """One file, or one part of a job, in one attempt.

    *id* is ours and never reused; *name* is the file's name. *key* is the same through every
    retry and resume. *attempt* counts from 1. A part of a job has its record in *part*, its id in
    *part_id* and the job's in *job*; for a file of its own these are None.
    """

    def __init__(self, assignment: Assignment, scratch: Scratch, out: Path, teller: Teller) -> None:
        self.id = assignment.id
        self.name = assignment.name
        self.key = assignment.key
        self.attempt = assignment.attempt
        self.part = assignment.part
        self.part_id = assignment.part_id
        self.job = assignment.job
        self.log = Log()
        self._place = assignment.path
        self._recorded = assignment.steps
        self._scratch = scratch
        self._outputs = Outputs(scratch, out, assignment.id)
        self._teller = teller
        self._used: set[str] = set()
        self._handed: dict[str, Path] = {}
        self._fault: tuple[str, BaseException] | None = None
        self._recording = threading.Lock()
        self._shown_at = -PROGRESS_SECONDS
        self._over = False

    @cached_property
    def path(self) -> Path:
        """Where the file is now."""
        return Path(self._place)

    @property
    def workdir(self) -> Path:
        """A folder of the item's own, kept until its outcome, through retries and crashes."""
        return self._scratch.folder("work")

    def output(self, name: str) -> Path:
        """Return where to write a file that is to appear in ``out/``, whole, as *name*.

        It appears before the step is recorded that it was handed to or asked for in, else
        before the outcome. A name that is taken there becomes ``STEM~ID.EXT``.

        Raises:
            PermanentError: *name* is no plain file name.
        """
        self._handed[name] = self._outputs.path(name)
        return self._handed[name]

    def step(
        self,
        name: str,
        function: Callable[Parameters, Result],
        /,
        *arguments: Parameters.args,
        **keywords: Parameters.kwargs,
    ) -> Result:
        """Call *function*, record what it returns and return it; or return what is recorded.

        The result must be JSON of at most 256 KiB and comes back as JSON gives it: a tuple as
        a list. A *name* can be used once in an attempt.

        Raises:
            PermanentError: *name* was used before, or the result cannot be recorded.
        """
        self._take_name(name)
        if name in self._recorded:
            return self._recorded[name]  # type: ignore[return-value]  # it was a Result once
        self._teller.reached(name)
        others = set(self._handed) - self._outputs_among((*arguments, *keywords.values()))
        try:
            result = _plain(name, function(*arguments, **keywords))
            self._keep(name, result, set(self._handed) - others)
        except BaseException as error:
            self._fault = self._fault or (name, error)
            raise
        return result  # type: ignore[return-value]  # the same, as JSON

    def progress(self, done: float, total: float | None = None) -> None:
        """Tell how far the attempt is, for ``resumed-ctl status``; cheap enough for any loop."""
        now = time.monotonic()
        if done == total or now - self._shown_at >= PROGRESS_SECONDS:
            self._shown_at = now
            self._expect_running()
            self._teller.progress(done, total)

    def finish(self) -> None:
        """Publish what was not yet; called when the handler has returned.

        Raises:
            StorageError: The disk refused.
        """
        self._publish(set(self._handed))

    def offer(self) -> Path:
        """Return the folder whose every file is an output, for a command to write into."""
        return self._outputs.folder()

    def collect(self) -> None:
        """Take what is in the folder of `offer` as handed to the step that runs."""
        folder = self._outputs.folder()
        self._handed.update((name, folder / name) for name in self._outputs.written())

    def close(self) -> None:
        """Refuse whatever a thread that the handler left behind still has to say."""
        self._over = True

    def step_of(self, error: BaseException) -> str | None:
        """Tell in which step *error*, or what it was raised from, was raised."""
        if self._fault is None:
            return None
        step, fault = self._fault
        seen: set[int] = set()
        todo: BaseException | None = error
        # Causes may go round in a circle, and an exception of a handler's own may be false.
        while todo is not None and id(todo) not in seen:
            if todo is fault:
                return step
            seen.add(id(todo))
            todo = todo.__context__ if todo.__cause__ is None else todo.__cause__
        return None

    def _keep(self, step: str, result: JSON, outputs: set[str]) -> None:
        """Publish *outputs* and record *step*: one at a time, whatever threads there are."""
        with self._recording:
            self._expect_running()
            self._publish(outputs)
            if self._scratch.used:
                sync_tree(self._scratch.path)
            self._teller.record(step, result)

    def _take_name(self, name: str) -> None:
        self._expect_running()
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_STEP_NAME:
            raise PermanentError(f"step {name!r}: a name is text of at most 100 characters")
        if name in self._used:
            raise PermanentError(f"step {name!r}: used twice in one attempt; number the names")
        self._used.add(name)

    def _expect_running(self) -> None:
        if self._over:
            raise RuntimeError(f"{self.name}: attempt {self.attempt} is over")

    def _outputs_among(self, values: tuple[object, ...]) -> set[str]:
        given = {os.fspath(value) for value in values if isinstance(value, str | Path)}
        return {name for name, path in self._handed.items() if os.fspath(path) in given}

    def _publish(self, names: set[str]) -> None:
        if names:
            self._outputs.publish(names)
            for name in names:
                self._handed.pop(name, None)


def _plain(step: str, result: object) -> JSON:
    try:
        return wire.plain(result)
    except ValueError as error:
        raise PermanentError(f"step {step!r}: its result {error}") from None
