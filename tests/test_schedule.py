import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resumed.schedule import SUSPECT_PATIENCE_SECONDS, SUSPECT_SURVIVES_SECONDS, Schedule


@pytest.fixture
def schedule():
    return Schedule()


def test_items_are_given_out_in_the_order_they_came(schedule):
    for item_id in "abc":
        schedule.add(item_id, item_id)
    assert schedule.ready == 3
    assert schedule.take(2, 0.0) == ["a", "b"]
    assert schedule.take(2, 0.0) == ["c"]
    assert (schedule.running, schedule.ready) == (3, 0)


def test_nobody_is_given_out_when_nobody_is_asked_for(schedule):
    schedule.add("a", "a")
    assert schedule.take(0, 0.0) == []
    assert schedule.take(-3, 0.0) == []


def test_items_of_one_name_run_one_after_another_in_claim_order(schedule):
    for item_id in "abc":
        schedule.add(item_id, "same")
    assert schedule.take(9, 0.0) == ["a"]
    assert schedule.take(9, 0.0) == []
    schedule.finish("a")
    assert schedule.take(9, 0.0) == ["b"]
    schedule.finish("b")
    assert schedule.take(9, 0.0) == ["c"]
    schedule.finish("c")
    assert schedule.idle


def test_the_next_of_a_name_waits_through_the_retries_of_the_first(schedule):
    schedule.add("a", "same")
    schedule.add("b", "same")
    schedule.take(1, 0.0)
    schedule.release("a")
    schedule.add_waiting("a", "same", 100.0)
    assert schedule.take(9, 50.0) == []
    assert schedule.take(9, 100.0) == ["a"]


def test_a_retry_that_is_due_before_its_name_is_free_waits_for_it(schedule):
    schedule.add("a", "same")
    schedule.add_waiting("b", "same", 1.0)
    assert schedule.take(9, 5.0) == ["a"]
    schedule.finish("a")
    assert schedule.take(9, 5.0) == ["b"]


def test_a_retry_is_not_given_out_before_its_time(schedule):
    schedule.add_waiting("a", "a", 10.0)
    assert (schedule.ready, schedule.waiting) == (0, 1)
    assert schedule.next_due(0.0) == 10.0
    assert schedule.take(1, 9.9) == []
    assert schedule.take(1, 10.0) == ["a"]


def test_new_items_and_due_retries_take_turns(schedule):
    for turn in range(4):
        schedule.add(f"new{turn}", f"new{turn}")
        schedule.add_waiting(f"old{turn}", f"old{turn}", 1.0 + turn)
    given_out = schedule.take(8, 10.0)
    assert [each[:3] for each in given_out] == ["new", "old"] * 4


def test_the_passing_of_time_is_told_once(schedule):
    """A loop whose workers are all busy must not be woken for what nobody can take."""
    schedule.add("busy", "busy")
    schedule.take(1, 0.0)
    schedule.add_waiting("a", "a", 10.0)
    assert schedule.next_due(20.0) == 20.0
    assert schedule.next_due(20.0) is None
    assert schedule.take(1, 20.0) == ["a"]


def test_a_suspect_whose_patience_is_over_wakes_nobody_until_the_others_end(schedule):
    schedule.add("busy", "busy")
    schedule.take(1, 0.0)
    schedule.add_suspect("s", "s", 0.0)
    schedule.add("new", "new")
    late = SUSPECT_PATIENCE_SECONDS + 1
    assert schedule.take(9, late) == []
    assert schedule.next_due(late) is None
    schedule.finish("busy")
    assert schedule.take(9, late) == ["s"]


def test_a_suspect_runs_beside_nobody(schedule):
    schedule.add_suspect("s", "s", 0.0)
    schedule.add_suspect("t", "t", 0.0)
    schedule.add("a", "a")
    assert schedule.take(9, 0.0) == ["s"]
    assert schedule.is_alone("s")
    assert not schedule.is_alone("a")
    assert schedule.take(9, 1.0) == []
    schedule.finish("s")
    assert schedule.take(9, 1.0) == ["t"]
    schedule.release("t")
    assert schedule.take(9, 1.0) == ["a"]


def test_the_others_go_on_beside_a_suspect_that_survives(schedule):
    schedule.add_suspect("s", "s", 0.0)
    schedule.add("a", "a")
    schedule.take(9, 0.0)
    assert schedule.next_due(1.0) == SUSPECT_SURVIVES_SECONDS
    assert schedule.take(9, SUSPECT_SURVIVES_SECONDS - 0.1) == []
    assert schedule.next_due(SUSPECT_SURVIVES_SECONDS) == SUSPECT_SURVIVES_SECONDS
    assert schedule.next_due(SUSPECT_SURVIVES_SECONDS) is None
    assert schedule.take(9, SUSPECT_SURVIVES_SECONDS) == ["a"]


def test_a_suspect_lets_others_start_for_a_minute_only(schedule):
    schedule.add("busy", "busy")
    schedule.take(1, 0.0)
    schedule.add_suspect("s", "s", 0.0)
    schedule.add("a", "a")
    schedule.add("b", "b")
    assert schedule.take(1, SUSPECT_PATIENCE_SECONDS - 1) == ["a"]
    assert schedule.take(1, SUSPECT_PATIENCE_SECONDS) == []


def test_a_suspect_behind_another_of_its_name_stays_one(schedule):
    schedule.add("a", "same")
    schedule.add_suspect("s", "same", 0.0)
    schedule.take(1, 0.0)
    schedule.finish("a")
    assert schedule.take(1, 0.0) == ["s"]
    assert schedule.is_alone("s")


def test_what_did_not_begin_comes_first_again(schedule):
    for item_id in "abc":
        schedule.add(item_id, item_id)
    schedule.take(2, 0.0)
    schedule.give_back(["a", "b"])
    assert schedule.running == 0
    assert schedule.take(3, 0.0) == ["a", "b", "c"]


def test_a_suspect_that_did_not_begin_is_alone_again(schedule):
    schedule.add_suspect("s", "s", 0.0)
    schedule.add("a", "a")
    schedule.take(1, 0.0)
    schedule.give_back(["s"])
    assert schedule.take(9, 1.0) == ["s"]
    assert schedule.is_alone("s")


def test_what_is_over_is_not_taken_back(schedule):
    schedule.add("a", "a")
    schedule.take(1, 0.0)
    schedule.finish("a")
    schedule.give_back(["a"])
    assert schedule.take(1, 0.0) == []
    assert schedule.idle


@pytest.mark.parametrize("how", ["add", "add_waiting", "add_suspect"])
def test_a_finished_item_is_passed_over_when_its_turn_comes(schedule, how):
    arguments = {"add": (), "add_waiting": (1.0,), "add_suspect": (0.0,)}[how]
    getattr(schedule, how)("a", "a", *arguments)
    assert schedule.at_hand("a")
    schedule.finish("a")
    assert not schedule.at_hand("a")
    assert schedule.next_due(5.0) is None
    assert schedule.take(9, 5.0) == []
    assert schedule.idle


@pytest.mark.parametrize("how", ["add", "add_waiting", "add_suspect"])
@pytest.mark.parametrize("what", ["taken out", "put off"])
def test_an_item_is_counted_once_wherever_it_was_before(schedule, how, what):
    arguments = {"add": (), "add_waiting": (1.0,), "add_suspect": (0.0,)}[how]
    getattr(schedule, how)("a", "a", *arguments)

    if what == "taken out":
        schedule.finish("a")
    else:
        schedule.add_waiting("a", "a", 9.0)

    assert (schedule.ready, schedule.waiting) == ((0, 0) if what == "taken out" else (0, 1))


def test_a_parked_item_can_be_taken_out(schedule):
    schedule.add("a", "same")
    schedule.add("b", "same")
    assert schedule.at_hand("b")
    schedule.finish("b")
    schedule.take(1, 0.0)
    schedule.finish("a")
    assert schedule.idle


def test_finishing_a_stranger_changes_nothing(schedule):
    schedule.finish("nobody")
    assert schedule.idle


@given(st.lists(st.sampled_from(["new", "due"]), max_size=60), st.integers(1, 5))
def test_nobody_starves(kinds, workers):
    schedule = Schedule()
    for turn, kind in enumerate(kinds):
        if kind == "new":
            schedule.add(str(turn), str(turn % 7))
        else:
            schedule.add_waiting(str(turn), str(turn % 7), 1.0)
    ended = []
    for _ in kinds:
        taken = schedule.take(workers, 2.0)
        for item_id in taken:
            schedule.finish(item_id)
        ended += taken
    assert sorted(ended) == sorted(map(str, range(len(kinds))))
    assert schedule.idle


class Days(RuleBasedStateMachine):
    """Any order of arrivals, ends, retries, crashes and removals."""

    def __init__(self):
        super().__init__()
        self.schedule = Schedule()
        self.now = 0.0
        self.count = 0
        self.names = {}  # of what is not over, in claim order
        self.running = {}  # id: since when, and whether as a suspect
        self.suspects = set()
        self.due = {}  # of what was put off

    @rule(name=st.sampled_from("xyz"), suspect=st.booleans(), wait=st.none() | st.floats(0, 100))
    def arrive(self, name, suspect, wait):
        item_id = str(self.count)
        self.count += 1
        self.names[item_id] = name
        self.put(item_id, suspect, wait)

    def put(self, item_id, suspect, wait):
        name = self.names[item_id]
        self.suspects.discard(item_id)
        self.due.pop(item_id, None)
        if wait is not None:
            self.due[item_id] = self.now + wait
            self.schedule.add_waiting(item_id, name, self.now + wait)
        elif suspect:
            self.suspects.add(item_id)
            self.schedule.add_suspect(item_id, name, self.now)
        else:
            self.schedule.add(item_id, name)

    @rule(count=st.integers(0, 3))
    def take(self, count):
        survivors = [since for since, _ in self.running.values()]
        taken = self.schedule.take(count, self.now)
        assert len(taken) <= count
        assert not set(taken) & set(self.running)
        for item_id in taken:
            first = next(i for i, name in self.names.items() if name == self.names[item_id])
            assert item_id == first
            if item_id in self.suspects:
                assert len(taken) == 1
                assert not self.running
        for since, suspect in self.running.values():
            if taken and suspect:
                assert self.now - since >= SUSPECT_SURVIVES_SECONDS
        assert len(survivors) == len(self.running)
        self.running.update((i, (self.now, i in self.suspects)) for i in taken)

    @rule(seconds=st.sampled_from([0.5, 29.0, 31.0, 61.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(data=st.data(), how=st.sampled_from(["finish", "retry", "suspect", "back"]))
    @precondition(lambda self: self.running)
    def end(self, data, how):
        item_id = data.draw(st.sampled_from(sorted(self.running)))
        since, _ = self.running.pop(item_id)
        if how == "finish":
            self.schedule.finish(item_id)
            del self.names[item_id]
        elif how == "back" and since == self.now:
            self.schedule.give_back([item_id])
        else:
            self.schedule.release(item_id)
            self.put(item_id, how == "suspect", 5.0 if how in ("retry", "back") else None)

    @rule(data=st.data())
    def remove(self, data):
        here = sorted(i for i in self.names if i not in self.running)
        if here:
            item_id = data.draw(st.sampled_from(here))
            assert self.schedule.at_hand(item_id)
            self.schedule.finish(item_id)
            del self.names[item_id]

    @rule(data=st.data(), suspect=st.booleans(), wait=st.none() | st.floats(0, 100))
    def put_anew(self, data, suspect, wait):
        """A person asks for an item before its time, or it is put off again."""
        here = sorted(i for i in self.names if i not in self.running)
        if here:
            self.put(data.draw(st.sampled_from(here)), suspect, wait)

    @invariant()
    def what_is_counted_is_there(self):
        self.schedule.next_due(self.now)
        here = self.names.keys() - self.running.keys()
        assert self.schedule.waiting == sum(self.due.get(i, 0) > self.now for i in here)
        parked = len(self.schedule._parked)
        assert self.schedule.ready + self.schedule.waiting + parked == len(here)

    @invariant()
    def counts_agree(self):
        assert self.schedule.running == len(self.running)
        assert self.schedule.idle == (not self.names)

    @invariant()
    def waiting_wakes_nobody_twice(self):
        due = self.schedule.next_due(self.now)
        assert due is None or due >= self.now
        again = self.schedule.next_due(self.now)
        assert again is None or again > self.now

    def teardown(self):
        """Whatever happened, all that is left gets its turn."""
        for item_id in list(self.running):
            self.schedule.finish(item_id)
            del self.names[item_id]
        for _ in range(2 * len(self.names)):
            self.now += 200.0
            for item_id in self.schedule.take(1, self.now):
                self.schedule.finish(item_id)
                del self.names[item_id]
        assert not self.names
        assert self.schedule.idle


class TestDays(Days.TestCase):
    settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
