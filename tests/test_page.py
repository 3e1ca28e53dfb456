"""Draw periods as pages, and see that nothing in them can act."""

import itertools
import json
import re
import sys
import time
from html.parser import HTMLParser

import pytest

from resumed import chronicle, commandline, ctl, page, place
from resumed.chronicle import Chronicle
from resumed.recorder import Recorder

AT = 1763812800.0
NASTY = "<script>alert('1')</script>\x1b\u202e"


@pytest.fixture
def paths(home):
    made = place.find(home=home.path)
    made.history.mkdir()
    return made


@pytest.fixture
def clock():
    return [AT]


@pytest.fixture
def recorder(paths, clock):
    bits = itertools.count(1)
    made = Recorder(paths, lambda: clock[0], lambda _: next(bits))
    yield made
    made._journal.close()


def item(recorder, clock, number, *, until, name="a.txt"):
    """Claim an item and let it go on until the kind of record that *until* names."""
    item_id = f"{int(clock[0] * 1000):011x}-{number:010x}"
    recorder.record("claimed", id=item_id, name=name, inode=number, size=1, mtime_ns=1, owner=0)
    if until == "claimed":
        return
    recorder.record("started", id=item_id, attempt=1)
    clock[0] += 2
    recorder.record("stepped", id=item_id, step="look", result=1)
    if until == "done":
        recorder.record("done", id=item_id, attempt=1, result=None, seconds=2.5)
        recorder.record("put_away", id=item_id, **{"as": name})
    else:
        error = {"kind": "builtins.ValueError", "text": f"{NASTY} {number}"}
        recorder.record("failed", id=item_id, attempt=1, step=None, error=error, output="")
        recorder.record("put_away", id=item_id, **{"as": name})


@pytest.fixture
def period(recorder, clock, paths):
    for number, until in enumerate(("done", "failed", "done", "failed", "claimed")):
        item(recorder, clock, number, until=until)
        clock[0] += 600
    recorder.commit()
    return chronicle.gather(paths, recorder.ledger, AT, AT + 4800)


def test_a_period_is_counted_by_slices(period):
    assert (sum(period.arrived), sum(period.done), sum(period.failed)) == (5, 2, 2)
    assert period.done[0] == period.failed[6] == 1
    assert period.backlog[0] == 0
    assert period.backlog[-1] == 1


def test_durations_are_those_of_steps_and_of_the_whole(period):
    assert period.seconds == {"look": [2.0] * 4, chronicle.WHOLE: [2.5, 2.5]}
    assert chronicle.percentile([1, 2, 3, 4], 0.5) == 3
    assert chronicle.percentile([1], 0.95) == 1


def test_reasons_that_differ_in_numbers_are_one(period):
    [(reason, count)] = period.reasons.items()

    assert count == 2
    assert reason.endswith("…")


def test_what_happened_outside_the_period_is_not_counted(recorder, clock, paths):
    item(recorder, clock, 1, until="done")
    recorder.commit()

    seen = chronicle.gather(paths, recorder.ledger, AT + 10, AT + 20)

    assert sum(seen.arrived) + sum(seen.done) == 0


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]


def test_a_page_needs_nothing_else_and_lets_nothing_act(period):
    drawn = page.page(period, f"/srv/{NASTY}")

    tags = Tags()
    tags.feed(drawn)
    assert "script" not in tags.tags
    assert tags.links == []
    assert "url(" not in drawn
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn
    assert "&lt;script&gt;" in drawn
    assert re.search(r"<b>2</b>failed", drawn)
    assert drawn.count("<svg") == drawn.count("</svg>") == 2


def test_a_page_of_a_quiet_period_says_so():
    drawn = page.page(Chronicle(AT, AT + 3600), "quiet")

    assert "nothing was done in this period" in drawn
    assert "nothing failed in this period" in drawn


def test_more_reasons_than_fit_are_counted():
    seen = Chronicle(AT, AT + 3600)
    seen.reasons.update({f"reason {letter}": 1 for letter in "abcdefghijklmno"})

    assert "and 3 more reasons" in page.page(seen, "many")


def test_the_program_writes_the_page(home, paths, recorder, monkeypatch, capsys):
    recorder.commit()
    out = home.path / "report.html"
    line = ["resumed-ctl", "--home", str(home.path), "report", "-o", str(out), "--since", "1h"]
    monkeypatch.setattr(sys, "argv", line)

    assert commandline.invoke(ctl.program, "resumed-ctl") == 0

    assert out.read_text().startswith("<!doctype html>")
    assert str(out) in capsys.readouterr().out
    assert str(paths.spool) in out.read_text()
    assert time.time() - out.stat().st_mtime < 60


def test_the_program_names_the_page_as_json(home, recorder, monkeypatch, capsys):
    recorder.commit()
    out = home.path / "report.html"
    line = ["resumed-ctl", "--home", str(home.path), "report", "-o", str(out), "--json"]
    monkeypatch.setattr(sys, "argv", line)

    assert commandline.invoke(ctl.program, "resumed-ctl") == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["file"], out.exists()) == (str(out), True)
    assert told["since"] < told["until"]
