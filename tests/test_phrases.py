import pytest

from resumed import phrases

AT = "2026-11-22T12:00:00.000Z"
ERROR = {"kind": "builtins.OSError", "text": "a\nb"}


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ({"kind": "claimed", "size": 2048}, "claimed, 2 KiB"),
        (
            {"kind": "claimed", "size": 1, "changed": True},
            "changed while it ran: begins anew, as another file",
        ),
        ({"kind": "started", "attempt": 2}, "attempt 2 started"),
        ({"kind": "stepped", "step": "a", "result": None}, "step a done"),
        ({"kind": "stepped", "step": "a", "result": [1]}, "step a done: [1]"),
        (
            {"kind": "waiting", "attempt": 1, "step": None, "error": ERROR, "delay": 90},
            "attempt 1 failed: OSError: a\\nb; next in 1min 30s",
        ),
        (
            {"kind": "failed", "attempt": 1, "step": "s", "error": {"kind": "exit 3", "text": ""}},
            "failed for good at attempt 1 in step s: exit 3",
        ),
        ({"kind": "interrupted", "attempt": 1}, "attempt 1 interrupted, does not count"),
        ({"kind": "crashed", "attempt": 1}, "attempt 1 was running when the program died"),
        (
            {"kind": "done", "attempt": 1, "seconds": 1.5, "result": None},
            "done at attempt 1 in 1.5s",
        ),
        ({"kind": "gone", "why": "taken\x1b"}, "gone: taken\\x1b"),
        ({"kind": "held", "why": "asked for"}, "held: asked for"),
        ({"kind": "put_away", "as": None}, "put away: nothing is kept"),
        ({"kind": "put_away", "as": "a"}, "put away as a"),
        ({"kind": "retried", "fresh": True}, "taken up again, its recorded steps forgotten"),
        ({"kind": "retried"}, "taken up again"),
        ({"kind": "job_opened"}, "job opened"),
        ({"kind": "answered", "verb": "", "answer": ["a", "b"]}, "asked to do something: a; b"),
    ],
)
def test_each_fact_has_its_words(fact, told):
    assert phrases.phrase({**fact, "at": AT}) == told


def test_output_that_was_escaped_once_is_not_escaped_again():
    fact = {"kind": "failed", "attempt": 1, "step": None, "error": ERROR, "at": AT}

    lines = list(phrases.lines({**fact, "output": "was \\x1b\nis \x1b"}))

    assert lines[1:] == ["      | was \\x1b", "      | is \\x1b"]
