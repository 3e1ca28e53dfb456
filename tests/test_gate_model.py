"""Let producers do anything in any order, and compare what the gate says with a plain model.

Every write makes a file longer, because two changes within one tick of the kernel's clock that
leave the size alone look the same to everybody.
"""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from resumed.arrival import Growing, Ignored, Ready, Vanished
from resumed.gate import Gate
from resumed.rules import Rules
from resumed.stranger import Folder

SETTLE_SECONDS = 1.0
NAMES = st.sampled_from(["a", "b", "c.part"])
TEMPORARY = "c.part"


class File:
    """What a producer knows of one of its files, whatever it is called."""

    def __init__(self, now):
        self.changed_at = now
        self.handles = []
        self.was_temporary = False


class Producers(RuleBasedStateMachine):
    """Files, their names, and what is open for writing."""

    def __init__(self):
        super().__init__()
        base = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
        self.inbox = Path(tempfile.mkdtemp(dir=base))
        self.folder = Folder(self.inbox)
        self.now = 1000.0
        self.gate = Gate(
            self.folder,
            Rules(("*",), (), None),
            settle_seconds=SETTLE_SECONDS,
            clock=lambda: self.now,
            is_sidecar=lambda _: False,
        )
        self.names = {}
        self.memory = {}

    def teardown(self):
        for file in {id(each): each for each in self.names.values()}.values():
            self.close_all(file)
        self.folder.close()
        shutil.rmtree(self.inbox)

    @rule(name=NAMES)
    def create(self, name):
        if name not in self.names:
            file = self.names[name] = File(self.now)
            file.handles.append((self.inbox / name).open("ab", buffering=0))

    @rule(name=NAMES)
    def write(self, name):
        file = self.names.get(name)
        if file:
            if not file.handles:
                file.handles.append((self.inbox / name).open("ab", buffering=0))
            file.handles[-1].write(b"x")
            file.changed_at = self.now

    @rule(name=NAMES)
    def close(self, name):
        if name in self.names:
            self.close_all(self.names[name])

    def close_all(self, file):
        while file.handles:
            file.handles.pop().close()

    @rule(old=NAMES, new=NAMES)
    def rename(self, old, new):
        if old in self.names and old != new and self.names.get(new) is not self.names[old]:
            replaced = self.names.get(new)
            (self.inbox / old).replace(self.inbox / new)
            self.names[new] = self.names.pop(old)
            if replaced is not None and replaced not in self.names.values():
                self.close_all(replaced)

    @rule(old=NAMES, new=NAMES)
    def link(self, old, new):
        if old in self.names and new not in self.names:
            os.link(self.inbox / old, self.inbox / new)
            self.names[new] = self.names[old]

    @rule(name=NAMES)
    def unlink(self, name):
        file = self.names.pop(name, None)
        if file:
            (self.inbox / name).unlink()
            if file not in self.names.values():
                self.close_all(file)

    @rule(seconds=st.sampled_from([0.0, 0.4, 1.0, 60.0]))
    def scan(self, seconds):
        self.now += seconds
        for name in ("a", "b", TEMPORARY):
            self.judge(name, self.examine(name))

    def examine(self, name):
        """Do as the intake: remember what is to be looked at again, and nothing else."""
        verdict = self.gate.examine(name, self.memory.pop(name, None))
        if isinstance(verdict, Growing):
            self.memory[name] = verdict.sighting
        if isinstance(verdict, Ignored) and name in self.names:
            self.names[name].was_temporary = True
        return verdict

    def judge(self, name, verdict):
        file = self.names.get(name)
        assert isinstance(verdict, Ignored) == (name == TEMPORARY)
        if name != TEMPORARY:
            assert isinstance(verdict, Vanished) == (file is None)
        if isinstance(verdict, Ready):
            assert os.fstat(verdict.fd).st_ino == os.lstat(self.inbox / name).st_ino
            os.close(verdict.fd)
            assert not file.handles
            quiet = self.now - file.changed_at
            assert quiet >= SETTLE_SECONDS or file.was_temporary

    @rule()
    def calm(self):
        """Whatever happened, all files are ready when everybody has gone and time has passed."""
        for file in self.names.values():
            self.close_all(file)
        self.scan(0.0)
        ready = set()
        for _ in range(2):
            self.now += SETTLE_SECONDS
            for name in self.names:
                verdict = self.examine(name)
                self.judge(name, verdict)
                ready |= {name} if isinstance(verdict, Ready) else set()
        assert ready == {name for name in self.names if name != TEMPORARY}

    @invariant()
    def nothing_was_touched(self):
        assert set(os.listdir(self.inbox)) == set(self.names)


class TestProducers(Producers.TestCase):
    settings = settings(
        max_examples=60,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
