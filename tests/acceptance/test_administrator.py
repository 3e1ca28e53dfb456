"""Let an administrator do whatever comes to mind with a live daemon; nothing may be lost."""

import contextlib
import os
import random
import shutil
import time

import pytest

from resumed import asking, audit, place, view
from resumed.documents import state_name

OPERATIONS = int(os.environ.get("RESUMED_OPERATIONS", "120"))
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

    def __init__(self, home, daemon, seed):
        self.home = home
        self.paths = place.find(home=home.path)
        self.daemon = daemon
        self.random = random.Random(seed)
        self.dropped = 0
        self.taken = 0
        self.running = daemon()

    def act(self):
        acts = {
            self.drop: 8, self.retry: 4, self.hold: 3, self.release: 3, self.remove: 2,
            self.give_back: 2, self.copy_over: 1, self.pause: 1, self.reload: 1,
            self.kill: 1, self.restart: 1, self.rest: 3,
        }  # fmt: skip
        [act] = self.random.choices([*acts], [*acts.values()])
        act()

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
        return not arrivals and not self.items("pending", "running", "waiting")

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
        before = self.counted("removed")
        self.ask("remove", "held", "failed", "waiting")
        self.taken += self.counted("removed") - before

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

    def rest(self):
        time.sleep(self.random.random() * 0.2)


def test_a_failed_file_may_come_back_under_the_spare_name_it_was_kept_as(home, daemon, wait_until):
    home.configure(SETTINGS, handler=FAILS_UNTIL_CALM)
    running = daemon()
    (home.inbox / "a.txt").write_text("text 1")
    wait_until(lambda: len(home.names("failed")) == 1)
    (home.inbox / "a.txt").write_text("text 2")
    wait_until(lambda: len(home.names("failed")) == 2)
    [spare] = [name for name in home.names("failed") if "~" in name]
    (home.path / "calm").touch()

    (home.failed / spare).rename(home.inbox / spare)

    wait_until(lambda: home.names("done") == ["a.txt"], what=running.tail)
    assert [each["result"] for each in home.records("done")] == ["text 2"]
    assert len([each for each in home.records("stepped") if each["step"] == "look"]) == 2
    wait_until(lambda: audit.audit(place.find(home=home.path)).discrepancies == ())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_an_administrator_does_nothing_is_lost(home, daemon, wait_until):
    home.configure(SETTINGS, handler=HANDLER)
    administrator = Administrator(home, daemon, SEED)

    for _ in range(OPERATIONS):
        administrator.act()
        assert administrator.running.process.poll() is None, administrator.running.tail()
    wait_until(administrator.is_over, 60, what=administrator.left)

    found = audit.audit(administrator.paths)
    assert found.discrepancies == ()
    kept = sum(len(home.names(folder)) for folder in ("done", "failed", "hold"))
    # One may be removed in the moment in which its file is given back, and then runs anew.
    assert kept + administrator.counted("removed") >= administrator.dropped
    assert administrator.counted("gone") == 0
