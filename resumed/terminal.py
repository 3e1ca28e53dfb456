"""Draw on a person's terminal what moves: the bar of a drain, with rate and time left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from resumed import text


def standard_error() -> Console:
    """Draw beside what a program prints."""
    return Console(stderr=True)


@contextmanager
def progress_bar(
    console: Console | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int, int], None]]:
    """Draw a bar until the end; call what this yields with done, failed and to go.

    What is still to go may grow: the bar then goes back, as more is known.
    """
    progress = Progress(
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        console=console or Console(),
        transient=True,
    )
    begun = clock()
    with progress:
        task = progress.add_task("", total=None, told="")

        def show(done: int, failed: int, to_go: int) -> None:
            ended = done + failed
            told = pace(ended, to_go, clock() - begun)
            if failed:
                told = f"[red]{failed} failed[/]  {told}"
            progress.update(task, completed=ended, total=ended + to_go, told=told)

        yield show


def pace(ended: int, to_go: int, seconds: float) -> str:
    """Write how many items ended in a second, or a minute, and how long the rest takes."""
    if not ended or seconds <= 0:
        return ""
    rate = ended / seconds
    told = f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
    return f"{told}, {text.duration(round(to_go / rate))} left" if to_go else told
