import json

from resumed import jobbook, jobsalvage, journal
from resumed.jobbook import JobBook
from resumed.jobledger import REPAIRED
from resumed.journal import Journal
from resumed.records import key
from resumed.roll import DONE

A = "1a2044b0000-0000000001"
AT = 1_763_812_800.0


def begun(folder):
    """Write the journal of a job with two parts done."""
    book = JobBook(folder, A, lambda: AT, "00000000")
    book.record("job_opened", id=A, name="a.jsonl", metadata={"n": 1})
    for mark in (1, 2):
        about = {"part": f"p{mark}", "key": key(mark, 1), "attempt": 1}
        book.record("done", **about, seconds=0.1, result=mark)
    book.close()
    return book.path


def test_a_sound_journal_is_clean_and_one_that_is_not_there_is_missing(tmp_path):
    path = begun(tmp_path)

    assert jobsalvage.judge(path)[0] == "clean"
    path.write_bytes(path.read_bytes() + b'{"n":')
    assert jobsalvage.judge(path)[0] == "torn"
    path.unlink()
    assert jobsalvage.judge(path)[0] == "missing"


def test_a_sound_record_that_makes_no_sense_is_damage_and_left_out(tmp_path):
    path = begun(tmp_path)
    writer = Journal(path, journal.read(path, lambda _: None))
    nonsense = {"part": "p3", "key": "no key", "attempt": 1, "seconds": 0.1, "result": None}
    writer.append("done", AT, nonsense)
    writer.sync()
    writer.close()
    before = path.read_bytes()

    assert jobsalvage.judge(path)[0] == "corrupt"
    done = jobsalvage.repair(path, "11111111", AT, aside=False)

    assert done.broken.read_bytes() == before
    assert done.records == 3
    assert jobsalvage.judge(path)[0] == "clean"
    ledger, _ = jobbook.replay(path)
    assert ledger.metadata == {"n": 1}
    assert [ledger.roll.states[ledger.roll.find(mark)] for mark in (1, 2)] == [DONE, DONE]
    assert ledger.closed["kind"] == REPAIRED


def test_times_of_what_was_saved_are_those_of_before(tmp_path):
    path = begun(tmp_path)
    before = [json.loads(line)["at"] for line in path.read_text().splitlines()]
    path.write_bytes(path.read_bytes().replace(b'"part":"p1"', b'"part":"q1"'))

    jobsalvage.repair(path, "11111111", AT + 60, aside=False)

    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert {each["at"] for each in kept if each["kind"] == "done"} <= set(before)
    assert [each["part"] for each in kept if each["kind"] == "done"] == ["p2"]
