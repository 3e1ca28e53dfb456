"""Let every destination of ours be taken already: both files survive, byte for byte."""

import pytest

SETTLE = 'handler = "handler:process"\nsettle = 0\n'
FAILS = "def process(item):\n    raise ValueError('no')\n"


def contents(folder) -> dict[str, str]:
    return {each.name: each.read_text() for each in folder.iterdir()}


def others(folder, known: str) -> list[str]:
    """List the names in a folder but one, without the sidecars of the others."""
    return [
        name for name in contents(folder) if name != known and not name.endswith(".failure.txt")
    ]


def test_a_done_file_gets_another_name_when_its_own_is_taken(home, daemon, wait_until):
    home.configure(SETTLE)
    (home.done / "report.tar.gz").write_text("the old one")
    daemon()

    (home.inbox / "report.tar.gz").write_text("the new one")
    wait_until(lambda: home.records("put_away"))

    assert (home.done / "report.tar.gz").read_text() == "the old one"
    [other] = others(home.done, "report.tar.gz")
    assert other.startswith("report")
    assert "~" in other
    assert other.endswith(".gz")
    assert (home.done / other).read_text() == "the new one"


def test_a_failed_file_and_its_sidecar_get_other_names(home, daemon, ctl, wait_until):
    home.configure(SETTLE, handler=FAILS)
    (home.failed / "a.txt").write_text("the old one")
    (home.failed / "a.txt.failure.txt").write_text("somebody's own words")
    daemon()

    (home.inbox / "a.txt").write_text("the new one")
    wait_until(lambda: home.records("put_away"))

    assert (home.failed / "a.txt").read_text() == "the old one"
    assert (home.failed / "a.txt.failure.txt").read_text() == "somebody's own words"
    [other] = others(home.failed, "a.txt")
    assert (home.failed / other).read_text() == "the new one"
    sidecars = [name for name in contents(home.failed) if name.endswith(".failure.txt")]
    assert len(sidecars) == 2
    assert "ValueError" in ctl("failures").stdout


def test_a_sidecar_alone_in_the_way_is_not_overwritten(home, daemon, wait_until):
    home.configure(SETTLE, handler=FAILS)
    (home.failed / "a.txt.failure.txt").write_text("somebody's own words")
    daemon()

    (home.inbox / "a.txt").write_text("the new one")
    wait_until(lambda: home.records("put_away"))

    assert (home.failed / "a.txt.failure.txt").read_text() == "somebody's own words"
    assert [text for text in contents(home.failed).values() if text == "the new one"]
    assert len(contents(home.failed)) == 3


@pytest.mark.parametrize("when", ["up", "down"])
def test_a_retry_that_meets_a_new_file_of_the_name_keeps_both(home, daemon, ctl, wait_until, when):
    home.configure(SETTLE, handler=FAILS)
    running = daemon()
    (home.inbox / "a.txt").write_text("the first")
    wait_until(lambda: home.records("put_away"))
    if when == "down":
        assert running.stop() == 0

    (home.inbox / "a.txt").write_text("the second")
    if when == "up":
        wait_until(lambda: len(home.records("put_away")) == 2)
    ctl("retry", "a.txt", status=None)
    if when == "down":
        daemon()

    wait_until(lambda: home.records("retried") and settled(home))
    texts = [text for name, text in contents(home.failed).items() if "failure" not in name]
    assert len(contents(home.failed)) == 4
    assert sorted(texts) == ["the first", "the second"]
    assert contents(home.inbox) == contents(home.done) == {}


def settled(home) -> bool:
    """Tell whether both files failed, each with its note whole under its own name."""
    entries = sorted(each.name for each in home.failed.iterdir())
    whole = len(entries) == 4 and not any(each.startswith(".") for each in entries)
    return whole and not any(home.active.glob("*/a.txt"))


def test_a_handler_that_writes_its_output_over_an_existing_one_keeps_both(home, daemon, wait_until):
    home.configure(
        SETTLE,
        handler="def process(item):\n    item.output('result.txt').write_text('new')\n",
    )
    (home.out / "result.txt").write_text("old")
    daemon()

    (home.inbox / "a").write_text("text")
    wait_until(lambda: home.records("put_away"))

    assert sorted(contents(home.out).values()) == ["new", "old"]
    assert (home.out / "result.txt").read_text() == "old"
