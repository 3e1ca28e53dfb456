"""Draw on a person's terminal what moves: the bar of a drain, with rate and time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """Show how many items end in a second, or a minute when they are slow."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{speed * 60:.1f}/min")


@contextmanager
def progress_bar(console: Console | None = None) -> Iterator[Callable[[int, int, int], None]]:
    """Draw a bar until the end; call what this yields with done, failed and to go.

    What is still to go may grow: the bar then goes back, as more is known.
    """
    progress = Progress(
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console or Console(),
        transient=True,
    )
    with progress:
        task = progress.add_task("", total=None, failed="")

        def show(done: int, failed: int, to_go: int) -> None:
            told = f"[red]{failed} failed" if failed else ""
            ended = done + failed
            progress.update(task, completed=ended, total=ended + to_go, failed=told)

        yield show
