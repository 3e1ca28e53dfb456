import os
import threading
from pathlib import Path

import pytest

from resumed import item
from resumed.errors import PermanentError
from resumed.item import Item
from resumed.scratch import Scratch, Spare
from resumed.wire import Assignment


class Told:
    """A teller that only remembers; what it was told and what stood in out/ at that moment."""

    def __init__(self, out):
        self.out = out
        self.all = []

    def reached(self, step):
        self.all.append(("reached", step))

    def record(self, step, result):
        self.all.append(("recorded", step, result, sorted(os.listdir(self.out))))

    def progress(self, done, total):
        self.all.append(("progress", done, total))

    def recorded(self):
        return [each[1:] for each in self.all if each[0] == "recorded"]


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def told(out):
    return Told(out)


@pytest.fixture
def make(tmp_path, out, told):
    def made(**particulars):
        values = {
            "id": "1-a",
            "name": "a.jpg",
            "path": str(tmp_path / "a.jpg"),
            "attempt": 1,
            "key": "k",
            "scratch": str(tmp_path / "1-a.work"),
        } | particulars
        assignment = Assignment(**values)
        return Item(assignment, Scratch(Path(assignment.scratch), Spare()), out, told)

    return made


def test_an_item_knows_what_it_is(make, tmp_path):
    one = make(part={"id": 1}, job="j", attempt=3)

    assert (one.id, one.name, one.path, one.key) == ("1-a", "a.jpg", tmp_path / "a.jpg", "k")
    assert (one.attempt, one.part, one.job) == (3, {"id": 1}, "j")


def test_a_step_is_recorded_with_its_result(make, told):
    assert make().step("size", len, "four") == 4

    assert told.all == [("reached", "size"), ("recorded", "size", 4, [])]


def test_a_recorded_step_is_not_repeated(make, told):
    one = make(steps={"size": 4})

    assert one.step("size", pytest.fail) == 4
    assert told.all == []


def test_a_result_is_the_same_now_as_after_a_resume(make, told):
    assert make().step("pair", lambda: (1, {2: "b"})) == [1, {"2": "b"}]

    assert told.recorded() == [("pair", [1, {"2": "b"}], [])]


def test_a_name_is_used_once_in_an_attempt(make):
    one = make(steps={"a": 1})
    one.step("a", int)

    with pytest.raises(PermanentError, match="twice"):
        one.step("a", int)


@pytest.mark.parametrize("name", ["", "x" * 101, 3, None])
def test_a_step_has_a_name_that_can_be_shown(make, name):
    with pytest.raises(PermanentError, match="at most 100"):
        make().step(name, int)


def test_a_result_that_cannot_be_recorded_is_refused(make, told):
    one = make()

    with pytest.raises(PermanentError, match="step 'a': its result is not JSON"):
        one.step("a", object)

    assert told.recorded() == []


def test_a_failure_is_known_by_its_step(make):
    one = make()

    def fail():
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - it has no message
        one.step("outer", one.step, "inner", fail)

    assert one.step_of(caught.value) == "inner"


def test_so_is_one_that_was_raised_from_it(make):
    one = make()

    def wrap():
        try:
            one.step("a", int, "x")
        except ValueError as error:
            raise RuntimeError from error

    with pytest.raises(RuntimeError) as caught:
        wrap()

    assert one.step_of(caught.value) == "a"


def test_causes_that_go_round_in_a_circle_are_looked_at_once(make):
    one = make()
    with pytest.raises(ValueError):  # noqa: PT011 - any
        one.step("a", int, "x")
    first, second = KeyError(), KeyError()
    first.__cause__, second.__cause__ = second, first

    assert one.step_of(first) is None


def test_a_failure_outside_of_steps_has_none(make):
    one = make()
    with pytest.raises(ValueError):  # noqa: PT011 - any
        one.step("a", int, "x")

    assert one.step_of(KeyError()) is None
    assert make().step_of(KeyError()) is None


def test_an_output_appears_before_its_step_is_recorded(make, told):
    one = make()
    path = one.output("b.jpg")

    one.step("draw", path.write_text, "x")  # not handed to it, nor asked for in it
    one.step("copy", lambda target: target.write_text("y"), path)

    assert told.recorded() == [("draw", 1, []), ("copy", 1, ["b.jpg"])]


def test_an_output_that_is_asked_for_in_a_step_belongs_to_it(make, told):
    one = make()

    one.step("draw", lambda: one.output("b.jpg").write_text("x"))

    assert told.recorded() == [("draw", 1, ["b.jpg"])]


def test_a_path_as_text_is_as_good(make, told):
    one = make()
    path = one.output("b.jpg")

    one.step("draw", lambda *, to: Path(to).write_text("x"), to=str(path))

    assert told.recorded() == [("draw", 1, ["b.jpg"])]


def test_any_other_output_appears_with_the_outcome(make, out):
    one = make()
    one.output("b.jpg").write_text("x")
    assert os.listdir(out) == []

    one.finish()

    assert os.listdir(out) == ["b.jpg"]


def test_nothing_appears_of_a_step_that_failed(make, out):
    one = make()

    def fail(path):
        path.write_text("x")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it has no message
        one.step("draw", fail, one.output("b.jpg"))

    assert os.listdir(out) == []


def test_whatever_a_command_leaves_is_an_output(make, out):
    one = make()
    (one.offer() / "b.jpg").write_text("x")

    one.collect()
    one.finish()

    assert os.listdir(out) == ["b.jpg"]


def test_the_work_folder_stays_from_attempt_to_attempt(make, told):
    (make().workdir / "half").write_text("x")

    again = make(attempt=2)
    again.step("go", lambda: None)

    assert (again.workdir / "half").read_text() == "x"
    again.step("on", lambda: None)
    assert len(told.recorded()) == 2


def test_progress_is_told_at_most_five_times_a_second_and_at_the_end(make, told, monkeypatch):
    moments = iter([100.0, 100.1, 100.3, 100.31])
    monkeypatch.setattr(item.time, "monotonic", lambda: next(moments))
    one = make()

    for done in range(4):
        one.progress(done, 3)

    assert told.all == [("progress", 0, 3), ("progress", 2, 3), ("progress", 3, 3)]


def test_a_log_line_goes_to_standard_error(make, capsys):
    log = make().log

    log.debug("100 %")
    log.info("found %d in %s", 3, "a")
    log.warning("odd")
    log.error("bad")

    lines = ["debug: 100 %", "info: found 3 in a", "warning: odd", "error: bad"]
    assert capsys.readouterr().err.splitlines() == lines


def test_steps_of_several_threads_are_recorded_one_by_one(make, told):
    one = make()
    threads = [threading.Thread(target=one.step, args=(f"s{n}", int)) for n in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(name for name, _, _ in told.recorded()) == [f"s{n}" for n in range(8)]


def test_a_thread_that_outlives_the_attempt_can_say_nothing(make, told):
    one = make()
    one.close()

    for late in (lambda: one.step("a", int), lambda: one.progress(1)):
        with pytest.raises(RuntimeError, match="attempt 1 is over"):
            late()

    assert told.all == []
