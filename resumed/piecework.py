"""Hear what became of the parts and reduces that were given out, and record it.

For parts this is what `resumed.runner` is for items; the same verdicts are asked. That an
attempt of a part began is only recorded if it did not end in the same turn of the loop: a
part that takes a millisecond costs one record, and one that takes long is known to run.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from resumed import roll, text, verdict
from resumed.entry import Entry
from resumed.jobledger import Tries
from resumed.model import Fact, Identity, Record
from resumed.openjob import SEPARATOR, ChangedError, OpenJob
from resumed.policy import names_any
from resumed.records import key
from resumed.report import Absent, Began, Busy, End, StepTaken
from resumed.runner import OUTPUT_LIMIT_BYTES
from resumed.schedule import Schedule
from resumed.verdict import Died, Limits, Raised, Returned

THE_REDUCE = -1
_NO_FILE = Identity(0, 0, 0)


@dataclass(slots=True)
class Hand:
    """What was given out: a part, or (`THE_REDUCE`) a reduce, of an open job."""

    job: OpenJob
    number: int
    part: str
    key: str
    attempt: int

    def about(self) -> Record:
        """Say what each record of a part says."""
        return {"part": self.part, "key": self.key, "attempt": self.attempt}


class PieceWork:
    """What was given out of all open jobs."""

    def __init__(
        self,
        *,
        limits: Limits,
        schedule: Schedule,
        clock: Callable[[], float],
        tell: Callable[..., None],
        acknowledge: Callable[[int, str, str], None],
    ) -> None:
        """Have nothing given out.

        *clock* is monotonic; *tell* writes an event; *acknowledge* lets a step's caller go on.
        """
        self.limits = limits
        self.fail_job_on: tuple[str, ...] = ()
        self._schedule = schedule
        self._clock = clock
        self._tell = tell
        self._acknowledge = acknowledge
        self._hands: dict[str, Hand] = {}

    def began(self, report: Began) -> None:
        """Note that an attempt was begun."""
        hand = self._hands[report.id]
        if hand.number != THE_REDUCE:
            hand.job.roll.attempts[hand.number] = min(report.attempt, roll.MOST_ATTEMPTS)
            if hand.number not in hand.job.ledger.running:
                hand.job.begun[hand.number] = (hand.part, hand.attempt)

    def step_taken(self, report: StepTaken) -> None:
        """Record a step; its caller goes on when it is on the disk."""
        hand = self._hands[report.id]
        told = {"step": report.step, "result": report.result}
        if hand.number == THE_REDUCE:
            hand.job.book.record("reduce_stepped", **told)
        else:
            hand.job.book.record("stepped", part=hand.part, key=hand.key, **told)
        hand.job.book.then(partial(self._acknowledge, report.worker, report.id, report.step))

    def finished(self, wire_id: str, end: End | Died, output: bytes, *, scratch: bool) -> None:
        """Record how an attempt ended, and what follows from it.

        *scratch* says that its scratch folder has to be removed once it has an outcome.
        """
        hand = self._hands.pop(wire_id)
        job = hand.job
        job.in_hand -= 1
        self._schedule.finish(wire_id)
        if isinstance(end, Busy | Absent):
            self._put_off(hand)
        elif hand.number == THE_REDUCE:
            self._reduce_ended(hand, end, output)
        elif isinstance(end, Returned):
            job.begun.pop(hand.number, None)
            seconds = round(end.seconds, 6)
            told = {**hand.about(), "seconds": seconds, "result": end.result}
            job.book.record_done(hand.number, hand.attempt, told)
            if scratch:
                job.litter.append(wire_id)
        else:
            self._part_ended(hand, end, output)
            if job.roll.states[hand.number] == roll.FAILED:
                job.litter.append(wire_id)

    def gave_back(self, wire_ids: Iterable[str]) -> None:
        """Take back what was not begun; the schedule has what it gave out itself."""
        for wire_id in wire_ids:
            hand = self._hands.pop(wire_id, None)
            if hand is None:
                continue
            hand.job.in_hand -= 1
            if hand.number == THE_REDUCE:
                hand.job.book.record("reduce_interrupted", attempt=hand.attempt)
            elif not self._schedule.knows(wire_id):
                hand.job.give_back(hand.number)
            else:
                self._take_back(hand)

    def tell_split(self, job: OpenJob) -> None:
        """Tell once what was found in a file, after all of it was read."""
        if job.whole and job.ledger.split and not job.told:
            job.told = True
            about = {"id": job.entry.id, "name": job.entry.name}
            names = ("parts", "bad", "new", "changed", "unchanged", "gone")
            counts = {each: job.ledger.split[each] for each in names}
            job.book.then(lambda: self._tell("job_split", **about, **counts))

    def schedule_suspects(self, job: OpenJob, now: float) -> None:
        """Let parts whose attempts died with the program run beside nobody."""
        for number in job.suspects:
            tries = job.ledger.tries_of(number)
            try:
                part = job.read(number)
            except ChangedError:
                job.fail_changed()
                break
            charged = as_entry(job.entry, job.roll.attempts[number], tries)
            fact = verdict.crashed_for_good(charged, self.limits.max_crashes, job.book.now())
            if fact is None:
                wire_id = f"{job.entry.id}{SEPARATOR}{part.mark:016x}"
                self._schedule.add_suspect(wire_id, wire_id, now)
            else:
                about = {"part": part.id, "key": key(part.mark, part.content)}
                told = {**fact.particulars, **about}
                del told["id"]
                job.book.record("failed", **told)
                self._say("part_failed", Hand(job, number, **about, attempt=0), told)
        job.suspects.clear()

    def _hold(self, wire_id: str, hand: Hand) -> None:
        """Note that something was given out."""
        self._hands[wire_id] = hand
        hand.job.in_hand += 1

    def _put_off(self, hand: Hand) -> None:
        """Try again soon what could not begin, because something still holds its lock."""
        self._mend(hand.job)
        due = self._clock() + verdict.BUSY_SECONDS
        if hand.number == THE_REDUCE:
            hand.job.book.record("reduce_interrupted", attempt=hand.attempt)
            self._schedule.add_waiting(hand.key, hand.key, due)
        else:
            self._take_back(hand)
            hand.job.put_off(hand.number, due)

    def _take_back(self, hand: Hand) -> None:
        """Record that a suspect did not begin: before it was sent, its attempt was recorded."""
        if hand.number in hand.job.ledger.running:
            hand.job.book.record("interrupted", **hand.about())
            hand.job.roll.turn(hand.number, roll.GIVEN)

    def _mend(self, job: OpenJob) -> None:
        """Make the folder again that attempts lock, should somebody have removed it."""

    def _part_ended(self, hand: Hand, end: End | Died, output: bytes) -> None:
        job, number = hand.job, hand.number
        job.begun.pop(number, None)
        tries = job.ledger.tries.get(number) or Tries()
        fact = self._judge(hand, tries, end, output)
        told = {**fact.particulars, **hand.about()}
        del told["id"]
        gives_up = isinstance(end, Raised) and names_any(self.fail_job_on, end.kinds)
        match fact.kind:
            case "interrupted":
                if number in job.ledger.running:
                    job.book.record("interrupted", **hand.about())
                job.give_back(number)
            case "waiting" if not gives_up:
                job.book.record("waiting", **told)
                job.put_off(number, self._clock() + told["delay"])
                self._say("part_waiting", hand, told)
            case _:
                told.pop("delay", None)
                job.book.record("failed", **told)
                self._say("part_failed", hand, told)
        if gives_up:
            job.fail({"error": told["error"], "part": hand.part, "attempt": hand.attempt})

    def _reduce_ended(self, hand: Hand, end: End | Died, output: bytes) -> None:
        job = hand.job
        job.reducing = False
        about: Record = {"attempt": hand.attempt, "key": hand.key}
        if isinstance(end, Returned):
            seconds = round(end.seconds, 6)
            job.book.record("reduced", **about, seconds=seconds, result=end.result)
            return
        fact = self._judge(hand, job.ledger.reduce.tries, end, output)
        told = {**fact.particulars, **about}
        del told["id"]
        job.book.record(f"reduce_{fact.kind}", **told)
        if fact.kind != "interrupted":
            self._say(f"reduce_{fact.kind}", hand, told)

    def _judge(self, hand: Hand, tries: Tries, end: End | Died, output: bytes) -> Fact:
        if isinstance(end, Busy | Absent):
            raise TypeError(end)
        return verdict.judge(
            as_entry(hand.job.entry, hand.attempt, tries),
            end,
            output=text.tail(output, OUTPUT_LIMIT_BYTES) if output else "",
            identity=_NO_FILE,
            policy=self.limits.policy,
            at=hand.job.book.now(),
        )

    def _say(self, event: str, hand: Hand, told: Record) -> None:
        name = f"{hand.job.entry.name}#{hand.part}" if hand.part else hand.job.entry.name
        shown = {"id": hand.job.entry.id, "name": name, **told}
        hand.job.book.then(partial(self._tell, event, **shown))


def as_entry(entry: Entry, attempt: int, tries: Tries) -> Entry:
    """Show an attempt in the job *entry* to those who judge items."""
    return Entry(
        entry.id,
        entry.name,
        _NO_FILE,
        entry.owner,
        entry.claimed_at,
        attempts=attempt,
        failures=tries.failures,
        crashes=tries.crashes,
    )
