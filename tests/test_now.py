from resumed import now
from resumed.now import Now


def test_what_was_told_is_read(tmp_path):
    page = Now(tmp_path)
    page.tell(5.0, {"i": [1, 2]}, intake_paused="disk", watching=True)
    page.tell(6.0, {"i": [2, 2]}, intake_paused=None, watching=True)
    page.tell(7.0, {"i": [2, 2]}, intake_paused=None, watching=True)
    page.close()

    told = now.read(tmp_path)

    assert told == {"at": 6.0, "intake_paused": None, "watching": True, "progress": {"i": [2, 2]}}
    assert (tmp_path / now.FILE).stat().st_size == now.PAGE_BYTES


def test_where_nothing_can_be_told_nothing_fails(tmp_path):
    page = Now(tmp_path / "missing")
    page.tell(5.0, {})
    page.close()
    page.close()

    assert now.read(tmp_path / "missing") == {}


def test_progress_that_is_no_number_to_reckon_with_is_not_told(tmp_path):
    nonsense = [10**400, float("nan"), float("inf"), "x" * now.PAGE_BYTES, {"a": 1}, None]
    progress = {f"done{each}"[:9]: [each, 10] for each in nonsense}
    progress |= {f"of{each}"[:9]: [3, each] for each in nonsense if each is not None}
    page = Now(tmp_path)
    page.tell(5.0, {**progress, "i": [3, None]}, watching=True)
    page.close()

    assert now.read(tmp_path) == {"at": 5.0, "watching": True, "progress": {"i": [3, None]}}


def test_what_is_too_long_is_not_told(tmp_path):
    page = Now(tmp_path)
    page.tell(5.0, {}, intake_paused="x" * now.PAGE_BYTES)
    page.close()

    assert now.read(tmp_path) == {}


def test_nonsense_in_its_place_is_nothing_told(tmp_path):
    (tmp_path / now.FILE).write_text("[1]")
    assert now.read(tmp_path) == {}

    (tmp_path / now.FILE).write_text('{"half')
    assert now.read(tmp_path) == {}
