"""List every event once: its level, its sentence, and its identity in the system's journal.

A record's kind is an event of the same name; the others are the daemon's own. A sentence
is filled from the event's fields. *message_id* is set where the catalog in ``systemd/``
explains what a person must do; once published it never changes.
"""

from dataclasses import dataclass

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40


@dataclass(frozen=True, slots=True)
class Event:
    """Describe one kind of event; *level* is as in the standard library's logging."""

    level: int
    sentence: str
    message_id: str | None = None


EVENTS: dict[str, Event] = {
    # about one item; the journal has a record of the same name
    "claimed": Event(DEBUG, "{name}: claimed"),
    "started": Event(DEBUG, "{name}: attempt {attempt} started"),
    "stepped": Event(DEBUG, "{name}: step {step} done"),
    "waiting": Event(
        WARNING,
        "{name}: attempt {attempt} failed, next in {delay}: {error}",
    ),
    "interrupted": Event(INFO, "{name}: attempt {attempt} interrupted, does not count"),
    "crashed": Event(
        WARNING,
        "{name}: attempt {attempt} was running when the program died",
        "7f5c2a9e0d3b4c6fa1e8b2d4c6f80911",
    ),
    "done": Event(INFO, "{name}: done in {seconds:.3f} s"),
    "failed": Event(ERROR, "{name}: failed for good: {error}", "4b1de2f07c5a49b08f3c6a7d9e2b1c55"),
    "gone": Event(WARNING, "{name}: its file was taken away: {why}"),
    "put_away": Event(DEBUG, "{name}: put away as {kept_as}"),
    "retried": Event(INFO, "{name}: taken up again"),
    "held": Event(INFO, "{name}: held: {why}"),
    "released": Event(INFO, "{name}: released"),
    "removed": Event(INFO, "{name}: removed"),
    # about the whole; the journal has a record of the same name
    "job_opened": Event(INFO, "{name}: job opened"),
    "job_ended": Event(INFO, "{name}: job ended"),
    "job_split": Event(
        INFO,
        "{name}: {parts} parts, {bad} of them bad; "
        "{new} new, {changed} changed, {unchanged} unchanged, {gone} gone",
    ),
    "part_waiting": Event(WARNING, "{name}: attempt {attempt} failed, next in {delay}: {error}"),
    "part_failed": Event(ERROR, "{name}: failed for good: {error}"),
    "reduce_claimed": Event(INFO, "{name}: all parts ended, reduce attempt {attempt} begins"),
    "reduce_waiting": Event(
        WARNING, "{name}: reduce attempt {attempt} failed, next in {delay}: {error}"
    ),
    "reduce_failed": Event(ERROR, "{name}: the reduce failed for good: {error}"),
    "answered": Event(INFO, "request {request}: {answer}"),
    "paused": Event(WARNING, "intake paused by request"),
    "unpaused": Event(INFO, "intake continues by request"),
    "reloaded": Event(INFO, "configuration read again"),
    "synced": Event(DEBUG, "journal closed its last group"),
    # the daemon's own
    "resuming": Event(
        INFO, "resuming: {done} done, {to_go} to go, {waiting} waiting, {failed} failed"
    ),
    "ready": Event(INFO, "ready: watching {inbox}"),
    "stopping": Event(INFO, "stopping: {running} running"),
    "stopped": Event(INFO, "stopped"),
    "finished": Event(
        INFO, "finished: {done} done, {failed} failed, {waiting} waiting, {not_ready} not ready"
    ),
    "torn": Event(
        WARNING,
        "{file}: {bytes} bytes of an unfinished group were cut and kept as {kept_as}",
        "a2c94e6d1f7b4f0e9d5083b7c1e62f34",
    ),
    "compacted": Event(INFO, "journal rewritten: {before} to {after} bytes"),
    "not_compacted": Event(WARNING, "journal not rewritten: {why}"),
    "overflow": Event(WARNING, "the kernel dropped watch events: scanning"),
    "watch_lost": Event(WARNING, "{inbox}: not watched, scanning every {seconds} s: {why}"),
    "watch_restored": Event(INFO, "{inbox}: watched again"),
    "unreadable": Event(WARNING, "{name}: cannot be read: {why}"),
    "unmovable": Event(WARNING, "{name}: cannot be moved, tried again at each scan: {why}"),
    "left_alone": Event(INFO, "{name}: is a {kind}, left alone"),
    "intake_paused": Event(WARNING, "intake paused: {why}", "c0e8f1b35d924a7a8e6d29c4b7f10a63"),
    "intake_resumed": Event(INFO, "intake continues"),
    "worker_died": Event(WARNING, "worker {worker} died: {how}"),
    "handler_refused": Event(
        ERROR, "the handler cannot be loaded: {why}", "e6b7d40c92fa4d1b8c35f0a1279e8d46"
    ),
    "reload_refused": Event(
        ERROR,
        "new configuration refused, the old one stays: {why}",
        "1d93c7a5e04f4b82b6f17e3c508a9d27",
    ),
    "request_refused": Event(WARNING, "request {request}: refused: {why}"),
    "hook_failed": Event(WARNING, "command {hook} failed: {why}"),
    "alarm": Event(WARNING, "alarm: {why}", "58f02d6be1c74a39a7e4d10c9b36f2e8"),
}
