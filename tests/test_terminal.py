import io

import pytest
from rich.console import Console

from resumed import terminal


@pytest.mark.parametrize(
    ("ended", "to_go", "seconds", "told"),
    [
        (0, 5, 10.0, ""),
        (1, 5, 0.0, ""),
        (20, 40, 10.0, "2.0/s, 20s left"),
        (1, 9, 10.0, "6.0/min, 1min 30s left"),
        (5, 0, 5.0, "1.0/s"),
    ],
)
def test_the_pace_is_told_with_what_is_left(ended, to_go, seconds, told):
    assert terminal.pace(ended, to_go, seconds) == told


def test_a_bar_shows_what_is_done_failed_and_to_go():
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=100, color_system=None)
    ticks = iter([0.0, 2.0, 4.0])

    with terminal.progress_bar(console, clock=lambda: next(ticks)) as show:
        show(1, 1, 6)
        show(4, 2, 0)
        console.print("")

    text = drawn.getvalue()
    assert "6/6" in text
    assert "2 failed" in text
    assert "1.5/s" in text
