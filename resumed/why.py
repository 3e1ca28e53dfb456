"""Say of one file why it is not moving: one line of truth, and what to do.

A file in the inbox is looked at as the daemon does (`resumed.standing`); of what was taken
the journal knows. Then come the reasons that have nothing to do with the file: a daemon that
is not there, a pause, a disk that is full.
"""

import os
from collections.abc import Iterator
from pathlib import PurePath

from resumed import address, story
from resumed.documents import reason
from resumed.entry import Entry
from resumed.glance import Glance
from resumed.listing import clock, span
from resumed.model import (
    Done,
    Failed,
    Held,
    Open,
    Pending,
    Record,
    Removed,
    Running,
    Waiting,
    instant,
)
from resumed.phrases import phrase
from resumed.picture import due_at, how_far
from resumed.settings import Config
from resumed.standing import Arrivals, Reason
from resumed.text import escape, size


class Inquiry:
    """Look at files of one instance, as it is at one moment."""

    def __init__(self, config: Config, glance: Glance, command: str) -> None:
        """*command* is how to call `resumed-ctl` again, for advice."""
        self._config = config
        self._glance = glance
        self._command = command
        self._paths = config.paths
        self._arrivals = Arrivals(config, glance, self._whole)

    def ask(self, asked: str) -> list[Reason]:
        """Answer for a path, a name or an id; an item and an arrival may share a name."""
        name = self._name_in_inbox(asked)
        answers = []
        if name is not None and os.path.lexists(self._paths.inbox / name):
            answers.append(self._arrivals.ask(name))
        answers += [self._item(entry) for entry in self._live(asked, name)]
        return answers or [self._past(asked)]

    def _name_in_inbox(self, asked: str) -> str | None:
        """Return what *asked* is called in the inbox, None for a path elsewhere."""
        inbox = os.path.realpath(self._paths.inbox)
        folder, last = os.path.split(asked)
        if not folder or (asked[0] != "/" and os.path.lexists(self._paths.inbox / asked)):
            return asked
        whole = os.path.join(os.path.realpath(folder), last)  # noqa: PTH118 - any bytes
        return whole[len(inbox) + 1 :] if whole.startswith(inbox + "/") else None

    def _live(self, asked: str, name: str | None) -> Iterator[Entry]:
        wanted = {asked, name, PurePath(asked).name}
        for entry in self._glance.view.ledger.items.values():
            if wanted & {entry.id, entry.name, entry.kept_as or entry.name}:
                yield entry

    def _whole(self, name: str) -> Reason | None:
        """Say why nothing is taken, and no attempt begun, whatever file it is."""
        now, life = self._glance.now, self._glance.life
        if (drained_at := self._glance.drained_at) is not None:
            told = f"no daemon runs; the last drain ended at {clock(drained_at, now)}"
            do = f"the next '{address.program(self._command, 'drain')}' takes it"
            return Reason(name, "next drain", told, do)
        if life.state == "down":
            since = f", since {clock(life.pulse_at, now)}" if life.pulse_at else ""
            do = f"'{address.start(self._command)}'"
            return Reason(name, "daemon down", f"the daemon is not running{since}", do)
        if life.state == "hung":
            silent = span(now - (life.pulse_at or now))
            do = "look at its log; a restart resumes"
            return Reason(name, "daemon hung", f"the daemon has not turned for {silent}", do)
        if self._glance.stopping:
            do = "the next start takes it"
            return Reason(name, "stopping", "the daemon is stopping: it takes nothing new", do)
        if self._glance.view.ledger.paused:
            do = f"'{self._command} unpause'"
            return Reason(name, "paused", "paused by request: nothing new is taken", do)
        return self._surroundings(name)

    def _surroundings(self, name: str) -> Reason | None:
        do = "it goes on by itself when that is mended"
        told = self._glance.hints["now"].get("intake_paused")
        if isinstance(told, str):
            return Reason(name, "intake paused", f"intake paused: {escape(told)}", do)
        for path in self._config.require:
            if not os.path.lexists(path):
                return Reason(name, "intake paused", f"{path} is required and missing", do)
        disk = os.statvfs(self._paths.spool)
        free, wanted = disk.f_bavail * disk.f_frsize, self._config.reserve_bytes
        if free < wanted:
            sentence = f"disk below the reserve, {size(free)} of {size(wanted)}: intake paused"
            return Reason(name, "disk full", sentence, do)
        return None

    def _item(self, entry: Entry) -> Reason:
        verdict, sentence, do = self._stands(entry)
        resting = isinstance(entry.state, Held | Failed | Done | Removed)
        whole = None if resting else self._whole(entry.name)
        runs_on = isinstance(entry.state, Running) and self._glance.stopping
        if whole is not None and whole.verdict != "paused" and not runs_on:
            sentence, do = f"{sentence}; but {whole.sentence}", whole.do
        return Reason(entry.name, verdict, sentence, do, entry.id)

    def _stands(self, entry: Entry) -> tuple[str, str, str]:  # noqa: PLR0911 - one for each state
        """Return a verdict, a sentence and what to do for an item that was taken."""
        now, most = self._glance.now, self._config.retry.max_attempts
        match entry.state:
            case Waiting(attempt, _, fault, _, _):
                when = clock(due_at(entry), now)
                sentence = f"waiting: attempt {attempt + 1} of {most} at {when}, {reason(fault)}"
                return "waiting", sentence, f"now: '{self._command} retry {entry.id}'"
            case Running(attempt, at):
                told = self._glance.told(entry)
                step = f" in step {escape(told['step'])}" if told.get("step") else ""
                worker = f" (worker {told['worker']})" if "worker" in told else ""
                how = f"running for {span(now - at)}{step}{how_far(told.get('progress'))}{worker}"
                return "running", f"{how}, attempt {attempt}", ""
            case Open(at):
                sentence = f"a job, open for {span(now - at)}: some of its parts are still to do"
                return "running", sentence, f"'{self._command} jobs info {entry.id}'"
            case Held(why, at, _):
                sentence = f"held since {clock(at, now)}: {escape(why)}"
                return "held", sentence, f"'{self._command} release {entry.id}'"
            case Failed(attempt, step, fault, _, at, _):
                where = f" in step {escape(step)}" if step else ""
                sentence = f"failed at {clock(at, now)}, attempt {attempt}{where}: {reason(fault)}"
                return "failed", sentence, f"mend it, then '{self._command} retry {entry.id}'"
            case Done() | Removed():
                return "over", "over, and on its way out of active/", ""
            case _:
                if (first := self._namesake(entry)) is not None:
                    sentence = f"waits for the item of its name before it, {first.id}"
                    return "pending", sentence, f"'{self._command} why {first.id}'"
                before = self._before(entry)
                sentence = f"taken, and waits for a worker; {before} before it"
                return "pending", sentence, "more workers may help" if before else ""

    def _namesake(self, entry: Entry) -> Entry | None:
        """Return the item that has to be over first: those of one name run one by one."""
        for each in self._glance.view.ledger.items.values():
            if isinstance(each.state, Done | Failed | Held | Removed):
                continue
            if each.name == entry.name and each.id < entry.id:
                return each
        return None

    def _before(self, entry: Entry) -> int:
        """Count the items that were taken before this one and have not begun."""
        items = self._glance.view.ledger.items.values()
        return sum(isinstance(each.state, Pending) and each.id < entry.id for each in items)

    def _past(self, asked: str) -> Reason:
        for name in dict.fromkeys((asked, PurePath(asked).name)):
            ids = story.ids_called(self._paths, name) if name else []
            if ids:
                return self._over(name, ids[-1])
        do = f"drop it into {self._paths.inbox}"
        return Reason(asked, "unknown", "not in the inbox, and no item has that name", do)

    def _over(self, name: str, item_id: str) -> Reason:
        facts: list[Record] = story.of_item(self._paths, item_id)
        endings = [fact for fact in facts if fact["kind"] in story.OUTCOMES]
        if not endings:
            return Reason(name, "unknown", "its story is no longer kept", "", item_id)
        ending = endings[-1]
        when = clock(instant(ending["at"]), self._glance.now)
        do = f"'{self._command} show {item_id}'"
        return Reason(name, ending["kind"], f"{phrase(ending)}, at {when}", do, item_id)
