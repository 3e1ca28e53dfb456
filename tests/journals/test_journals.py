"""Walk all folders beside this file: each is a journal, why it is as it is, and its verdict."""

import json
import shutil
from pathlib import Path

import pytest

from resumed import compaction, journal, salvage
from resumed.errors import JournalCorruptError, JournalVersionError
from resumed.paths import Paths

CASES = sorted(each.parent for each in Path(__file__).parent.glob("*/why.md"))


def judge(path):
    """Say what the program makes of a journal, in the words of expected.json."""
    try:
        ledger, reading = compaction.replay(path)
    except JournalVersionError as error:
        return {"verdict": "newer", "line": error.line}
    except JournalCorruptError as error:
        return {"verdict": "refused", "line": error.line}
    items = {each.id: type(each.state).__name__.lower() for each in ledger.items.values()}
    if reading.torn:
        return {"verdict": "torn", "line": reading.torn.line, "items": items}
    return {"verdict": "clean", "items": items}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request, tmp_path):
    shutil.copytree(request.param, tmp_path / "case")
    return tmp_path / "case"


def test_a_journal_is_judged_as_expected_and_left_as_it_was(case):
    path = case / "journal.jsonl"
    before = path.read_bytes()
    assert judge(path) == json.loads((case / "expected.json").read_text())
    assert path.read_bytes() == before


def test_a_repair_keeps_the_original_and_makes_nothing_done_that_was_not(case):
    paths = Paths.below(case / "spool", case)
    for folder in ("inbox", "active", "hold", "done", "failed"):
        (case / "spool" / folder).mkdir(parents=True)
    content = paths.journal.read_bytes()
    sound = [each for each in map(journal.unseal, content.splitlines(keepends=True)) if each]
    done = {each.get("id") for each in sound if each["kind"] == "done"}
    if json.loads((case / "expected.json").read_text())["verdict"] == "newer":
        with pytest.raises(JournalVersionError):
            salvage.repair(paths, "repaired", 1763812900.0)
        assert paths.journal.read_bytes() == content
        return
    salvage.repair(paths, "repaired", 1763812900.0)
    (broken,) = case.glob("journal.broken-*")
    assert broken.read_bytes() == content
    after = judge(paths.journal)
    assert after["verdict"] == "clean"
    assert {each for each, state in after["items"].items() if state == "done"} <= done


def test_a_case_says_why(case):
    assert len((case / "why.md").read_text()) > 20
