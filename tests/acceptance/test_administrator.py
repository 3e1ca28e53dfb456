"""Let an administrator do whatever comes to mind with a live daemon; nothing may be lost.

Hypothesis chooses what is done: `RESUMED_OPERATIONS` of them in all, 50 to one daemon and its
home, with `RESUMED_SEED`. What the daemon does meanwhile is its own, so a failure is told with its
operations and not made smaller.
"""

import contextlib
import os
import random
import shutil
import time
import traceback

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from resumed import asking, audit, place, view
from resumed.documents import state_name
from resumed.recorder import Recorder

OPERATIONS = int(os.environ.get("RESUMED_OPERATIONS", "150"))
STEPS = 50
SEED = int(os.environ.get("RESUMED_SEED", "7"))
HANDLER = """
import random
from resumed import TransientError

def process(item):
    chance = random.random()
    item.step("look", item.path.read_bytes().decode)
    if chance < 0.25:
        raise ValueError("no luck")
    if chance < 0.5:
        raise TransientError("later")
    if chance < 0.52:
        import os
        os._exit(3)
"""
FAILS_UNTIL_CALM = """
from pathlib import Path

def process(item):
    text = item.step("look", item.path.read_text)
    if not (Path(__file__).parent / "calm").exists():
        raise ValueError("not yet")
    assert item.path.read_text() == text
    return text
"""
CHANCES = st.integers(0, 1 << 32)
SETTINGS = """
handler = "handler:process"
settle = 0
workers = 2
[retry]
initial = "50ms"
max = "200ms"
jitter = 0
max_attempts = 3
"""


class Administrator:
    """Does things at random, and knows which files there ever were."""

    def __init__(self, home, daemon, wait_until):
        self.home = home
        self.paths = place.find(home=home.path)
        self.daemon = daemon
        self.wait_until = wait_until
        self.random = random.Random(0)
        self.dropped = 0
        self.running = daemon()

    def items(self, *states):
        items = view.look(self.paths).ledger.items.values()
        return [each for each in items if state_name(each.state) in states]

    def ask(self, verb, *states, **options):
        items = self.items(*states)
        if items:
            chosen = self.random.sample(items, self.random.randint(1, min(3, len(items))))
            ids = [each.id for each in chosen]
            answers = asking.ask(self.paths, verb, ids, patience_seconds=20, **options)
            assert all(each.waits is None for each in answers), answers

    def drop(self):
        for _ in range(self.random.randint(1, 5)):
            self.dropped += 1
            name = f"{self.random.randint(1, 30)}.txt"
            temporary = self.home.inbox / f".{self.dropped}"
            temporary.write_text(f"{self.dropped}")
            if os.path.lexists(self.home.inbox / name):
                temporary.unlink()
                self.dropped -= 1
            else:
                temporary.rename(self.home.inbox / name)

    def is_over(self):
        # A kill may leave a half-written note, which was then given back like a file.
        arrivals = [name for name in self.home.names("inbox") if not name.startswith(".resumed-")]
        # In this order: a file goes from the inbox to active/, is recorded there, and leaves it.
        at_work = arrivals or any(self.home.active.glob("*/*"))
        return not at_work and not self.items("pending", "running", "waiting")

    def left(self):
        left = [repr(each) for each in self.items("pending", "running", "waiting")]
        return "\n".join([*self.home.names("inbox"), *left, self.running.tail()])

    def retry(self):
        self.ask("retry", "failed", "waiting", fresh=self.random.random() < 0.3)

    def hold(self):
        self.ask("hold", "pending", "waiting", "running")

    def release(self):
        self.ask("release", "held")

    def remove(self):
        self.ask("remove", "held", "failed", "waiting")

    def counted(self, outcome):
        return view.look(self.paths).ledger.counts.get(outcome, 0)

    def give_back(self):
        """Move a failed file into the inbox by hand."""
        names = self.home.names("failed")
        if names:
            name = self.random.choice(names)
            if not os.path.lexists(self.home.inbox / name):
                with contextlib.suppress(FileNotFoundError):
                    (self.home.failed / name).rename(self.home.inbox / name)

    def copy_over(self):
        """Drop a copy of a failed file under its name: another file."""
        names = self.home.names("failed")
        if names:
            name = self.random.choice(names)
            if not os.path.lexists(self.home.inbox / name):
                try:
                    shutil.copyfile(self.home.failed / name, self.home.inbox / f".{name}")
                except FileNotFoundError:
                    return
                (self.home.inbox / f".{name}").rename(self.home.inbox / name)
                self.dropped += 1

    def pause(self):
        for verb in ("pause", "unpause"):
            [answer] = asking.ask(self.paths, verb)
            assert answer.ok, answer

    def reload(self):
        asking.ask(self.paths, "reload")

    def kill(self):
        self.running.kill()
        self.running = self.daemon()

    def restart(self):
        assert self.running.stop() == 0
        self.running = self.daemon()

    def settle(self):
        """Wait until all is over, and prove that nothing is lost."""
        self.wait_until(self.is_over, 60, what=self.left)
        found = audit.audit(self.paths)
        assert found.discrepancies == ()
        kept = sum(len(self.home.names(folder)) for folder in ("done", "failed", "hold"))
        # One may be removed in the moment in which its file is given back, and then runs anew.
        assert kept + self.counted("removed") >= self.dropped
        assert self.counted("gone") == 0

    def rest(self):
        time.sleep(self.random.random() * 0.2)


def test_a_failed_file_may_come_back_under_the_spare_name_it_was_kept_as(home, daemon, wait_until):
    home.configure(SETTINGS, handler=FAILS_UNTIL_CALM)
    running = daemon()
    (home.inbox / "a.txt").write_text("text 1")
    wait_until(lambda: len(home.names("failed")) == 1)
    (home.inbox / "a.txt").write_text("text 2")
    wait_until(lambda: any("~" in name for name in home.names("failed")))
    [spare] = [name for name in home.names("failed") if "~" in name]
    (home.path / "calm").touch()

    (home.failed / spare).rename(home.inbox / spare)

    wait_until(lambda: home.names("done") == ["a.txt"], what=running.tail)
    assert [each["result"] for each in home.records("done")] == ["text 2"]
    assert len([each for each in home.records("stepped") if each["step"] == "look"]) == 2
    wait_until(lambda: audit.audit(place.find(home=home.path)).discrepancies == ())


def test_a_kill_between_a_file_and_its_note_leaves_no_note_behind(home, daemon, wait_until):
    home.configure(SETTINGS, handler=FAILS_UNTIL_CALM)
    running = daemon()
    (home.inbox / "a.txt").write_text("text")
    wait_until((home.failed / "a.txt.failure.txt").exists)
    assert running.stop() == 0
    [claimed] = home.records("claimed")
    recorder = Recorder(place.find(home=home.path), time.time, random.getrandbits)
    recorder.record("retried", id=claimed["id"], fresh=False)
    recorder.close()
    (home.active / claimed["id"]).mkdir(exist_ok=True)
    (home.failed / "a.txt").rename(home.active / claimed["id"] / "a.txt")
    (home.path / "calm").touch()

    daemon()

    wait_until(lambda: home.names("done") == ["a.txt"])
    assert os.listdir(home.failed) == []


class Session(RuleBasedStateMachine):
    """One daemon, and what an administrator does while it works."""

    administrator: Administrator

    def __init__(self, begin, operations, faults):
        super().__init__()
        self.begin = begin
        self.operations = operations
        self.faults = faults

    @initialize(chance=CHANCES)
    def arrive(self, chance):
        self.administrator = self.begin()
        self.act(self.administrator.drop, chance)

    def act(self, operation, chance):
        self.administrator.random = random.Random(chance)
        with self.noting():
            operation()
            running = self.administrator.running
            assert running.process.poll() is None, running.tail()
        self.operations.append(operation.__name__)

    @contextlib.contextmanager
    def noting(self):
        """Keep what failed: it may not fail again when hypothesis does the same once more."""
        try:
            yield
        except BaseException:
            self.faults.append(traceback.format_exc())
            raise

    @rule(chance=CHANCES)
    def drop(self, chance):
        self.act(self.administrator.drop, chance)

    @rule(chance=CHANCES)
    def drop_more(self, chance):
        self.act(self.administrator.drop, chance)

    @rule(chance=CHANCES)
    def retry(self, chance):
        self.act(self.administrator.retry, chance)

    @rule(chance=CHANCES)
    def hold(self, chance):
        self.act(self.administrator.hold, chance)

    @rule(chance=CHANCES)
    def release(self, chance):
        self.act(self.administrator.release, chance)

    @rule(chance=CHANCES)
    def remove(self, chance):
        self.act(self.administrator.remove, chance)

    @rule(chance=CHANCES)
    def give_back(self, chance):
        self.act(self.administrator.give_back, chance)

    @rule(chance=CHANCES)
    def copy_over(self, chance):
        self.act(self.administrator.copy_over, chance)

    @rule(chance=CHANCES)
    def pause(self, chance):
        self.act(self.administrator.pause, chance)

    @rule(chance=CHANCES)
    def reload(self, chance):
        self.act(self.administrator.reload, chance)

    @rule(chance=CHANCES)
    def kill(self, chance):
        self.act(self.administrator.kill, chance)

    @rule(chance=CHANCES)
    def restart(self, chance):
        self.act(self.administrator.restart, chance)

    @rule(chance=CHANCES)
    def rest(self, chance):
        self.act(self.administrator.rest, chance)

    def teardown(self):
        if hasattr(self, "administrator"):
            with self.noting():
                self.administrator.settle()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_whatever_an_administrator_does_nothing_is_lost(home, daemon, tmp_path, wait_until):
    homes, operations, faults = [], [], []

    def begin():
        homes.append(type(home)(tmp_path / f"home-{len(homes)}"))
        homes[-1].configure(SETTINGS, handler=HANDLER)
        with contextlib.suppress(IndexError):
            daemon.daemons.pop().close()
        daemon.home = homes[-1]
        return Administrator(homes[-1], daemon, wait_until)

    chosen = settings(
        max_examples=-(-OPERATIONS // STEPS),
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    machine = seed(SEED)(lambda: Session(begin, operations, faults))
    try:
        run_state_machine_as_test(machine, settings=chosen)
    finally:
        assert faults == []
    print(f"{len(operations)} operations in {len(homes)} homes")
    assert len(operations) >= OPERATIONS
