"""Do what requests ask for, and answer each by a record.

An item's state is changed by a record; its file follows (`resumed.reconcile`), now or, after
a crash, at the next start. So a request is either done or not, never half.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from resumed import request, text
from resumed.entry import Entry
from resumed.jobwishes import JobWishes
from resumed.model import Done, Failed, Gone, Held, Open, Pending, Removed, Running, Waiting
from resumed.reconcile import Reconciler
from resumed.recorder import Recorder
from resumed.request import NotNowError, Refused, Request
from resumed.runner import Runner
from resumed.schedule import Schedule

LINES_KEPT = 200
LINE_LIMIT = 400


@dataclass(frozen=True, slots=True)
class Whole:
    """What the daemon does itself when it is asked about the whole."""

    pause: Callable[[], str]
    unpause: Callable[[], str]
    reload: Callable[[], str]


class Control:
    """The door for requests."""

    def __init__(  # noqa: PLR0913 - the parts that a request may touch
        self,
        *,
        folder_fd: int,
        recorder: Recorder,
        schedule: Schedule,
        runner: Runner,
        reconciler: Reconciler,
        jobs: JobWishes,
        whole: Whole,
        tell: Callable[..., None],
    ) -> None:
        """Listen at the folder that *folder_fd* is open on."""
        self._folder_fd = folder_fd
        self._recorder = recorder
        self._schedule = schedule
        self._runner = runner
        self._reconciler = reconciler
        self._jobs = jobs
        self._whole = whole
        self._tell = tell
        self._unheard: set[str] = set()
        self._verbs: dict[str, Callable[[Entry, Request], str]] = {
            "retry": self._retry,
            "hold": self._hold,
            "release": self._release,
            "remove": self._remove,
            "cancel": self._cancel,
        }

    def turn(self) -> int:
        """Answer all requests that are there; return how many. Answers are durable on return.

        Raises:
            StorageError: The disk refused; what is not answered is answered by the next start.
        """
        count = 0
        for name in request.names(self._folder_fd):
            if name in self._unheard:
                continue
            if name not in self._recorder.ledger.answers:
                wish = request.read(self._folder_fd, name)
                if wish is None:
                    continue
                self._answer(wish)
                count += 1
            self._recorder.commit()
            if not request.discard(self._folder_fd, name):
                self._unheard.add(name)
        return count

    def _answer(self, wish: Request | Refused) -> None:
        match wish:
            case Refused(name, _, why):
                self._record(name, "", [why], ok=False)
                self._tell("request_refused", request=name, why=why)
            case Request() if wish.verb in request.WHOLE_VERBS:
                self._do_whole(wish)
            case Request():
                self._do_items(wish)

    def _do_whole(self, wish: Request) -> None:
        if not _may_all(wish.owner):
            self._record(wish.name, wish.verb, ["only root and the daemon's user may"], ok=False)
            return
        actions = {"pause": self._whole.pause, "unpause": self._whole.unpause}
        try:
            answer = actions.get(wish.verb, self._whole.reload)()
        except NotNowError as error:
            self._record(wish.name, wish.verb, [str(error)], ok=False)
        else:
            self._record(wish.name, wish.verb, [answer], ok=True)

    def _do_items(self, wish: Request) -> None:
        lines, ok = [], True
        missing = [i for i in wish.items() if i not in self._recorder.ledger.items]
        for entry in list(self._chosen(wish)):
            if not (_may_all(wish.owner) or wish.owner == entry.owner):
                lines.append(f"{entry.name}: is not yours; ask its owner or root")
                ok = False
                continue
            try:
                lines.append(f"{entry.name}: {self._verbs[wish.verb](entry, wish)}")
            except NotNowError as error:
                lines.append(f"{entry.name}: {error}")
                ok = False
        lines += [f"{i}: is over, or never was" for i in missing]
        self._record(wish.name, wish.verb, lines, ok=ok and not missing)

    def _chosen(self, wish: Request) -> Iterable[Entry]:
        items = self._recorder.ledger.items
        if not wish.everything:
            return [items[i] for i in wish.items() if i in items]
        wanted = {"retry": Failed, "release": Held}.get(wish.verb)
        if wanted is None:
            return []
        allowed = _may_all(wish.owner)
        chosen = (e for e in items.values() if isinstance(e.state, wanted))
        return [e for e in chosen if allowed or e.owner == wish.owner]

    def _retry(self, entry: Entry, wish: Request) -> str:
        if entry.job or (wish.replacement is not None and self._jobs.leads(entry)):
            return self._jobs.retry(entry, wish)
        if wish.replacement or wish.items().get(entry.id):
            raise NotNowError("is no job")
        match entry.state:
            case Failed(_, _, _, _, _, kept_as) if kept_as is not None:
                self._recorder.record("retried", id=entry.id, fresh=wish.fresh)
                return self._run_again(entry, "taken up again")
            case Waiting() if not self._schedule.at_hand(entry.id):
                # A worker has it already: to give it out again would run it twice.
                if wish.fresh:
                    raise NotNowError("is about to run, with its recorded steps")
                return "is tried next"
            case Waiting():
                self._recorder.record("retried", id=entry.id, fresh=wish.fresh)
                self._schedule.finish(entry.id)
                self._runner.take_in(entry)
                return "tried now"
            case state:
                raise NotNowError(f"is {_name(state)}, there is nothing to retry")

    def _hold(self, entry: Entry, _: Request) -> str:
        match entry.state:
            case Pending() | Waiting() if self._schedule.at_hand(entry.id):
                self._recorder.record("held", id=entry.id, why="asked for")
                self._schedule.finish(entry.id)
                self._recorder.commit()
                self._reconciler.put_away([entry])
                return "held"
            case state:
                raise NotNowError(f"is {_name(state)}, and cannot be held")

    def _release(self, entry: Entry, _: Request) -> str:
        if not isinstance(entry.state, Held):
            raise NotNowError(f"is {_name(entry.state)}, not held")
        self._recorder.record("released", id=entry.id)
        return self._run_again(entry, "released")

    def _remove(self, entry: Entry, _: Request) -> str:
        match entry.state:
            case Pending() | Waiting() if self._schedule.at_hand(entry.id):
                pass
            case Held(_, _, kept_as) | Failed(_, _, _, _, _, kept_as) if kept_as is not None:
                pass
            case state:
                raise NotNowError(f"is {_name(state)}, and cannot be removed")
        self._recorder.record("removed", id=entry.id)
        self._schedule.finish(entry.id)
        self._recorder.commit()
        self._reconciler.settle(entry)
        return "removed"

    def _cancel(self, entry: Entry, _: Request) -> str:
        return self._jobs.cancel(entry)

    def _run_again(self, entry: Entry, answer: str) -> str:
        """Fetch the file after the record; a crash between them is mended by the next start."""
        self._recorder.commit()
        if not self._reconciler.fetch(entry):
            raise NotNowError("its file was taken away; nothing is left to run")
        self._runner.take_in(entry)
        return answer

    def _record(self, name: str, verb: str, lines: list[str], *, ok: bool) -> None:
        if len(lines) > LINES_KEPT:
            lines = [*lines[:LINES_KEPT], f"and {len(lines) - LINES_KEPT} more"]
        # Names may be long, and a record is not.
        lines = [text.shorten(line, LINE_LIMIT) for line in lines]
        self._recorder.record("answered", request=name, verb=verb, ok=ok, answer=lines)
        self._recorder.then(
            lambda: self._tell("answered", request=name, answer="; ".join(lines[:3]))
        )


def _may_all(owner: int) -> bool:
    return owner in (0, os.geteuid())


def _name(state: object) -> str:
    match state:
        case Done():
            return "done"
        case Failed():
            return "failed, and on its way to failed/"
        case Held():
            return "held"
        case Gone() | Removed():
            return "gone"
        case Running() | Open():
            return "running"
        case _:
            return "about to run"
