"""Write the numbers of an instance as OpenMetrics text, for Prometheus and its like.

    resumed_items{state="waiting"} 3            gauge, of now
    resumed_ended_items_total{outcome="done"} 120     counter, since the journal began
    resumed_up 1                                gauge, 0 when the daemon is down or hangs
    resumed_last_drain_timestamp_seconds 1.8e9   gauge, after a drain that ended well
    resumed_alarm{expect="every"} 1             gauge, for each key that [expect] has

Names, units and types follow the conventions of Prometheus. The file is replaced whole, so
that a collector never reads half of it.
"""

from collections.abc import Iterator
from dataclasses import fields

from resumed import documents, health
from resumed.glance import Glance
from resumed.settings import Expectations

_FAMILIES = (
    ("inbox", "resumed_inbox_files", "Files in the inbox."),
    ("oldest_seconds", "resumed_oldest_item_age_seconds", "Age of the oldest unfinished item."),
    ("failed_last_hour", "resumed_recently_failed_items", "Items that failed within an hour."),
)


def exposition(
    glance: Glance,
    numbers: dict[str, float],
    disk: tuple[int, int] | None,
    expect: Expectations | None = None,
) -> str:
    """Write all numbers of one look; without *expect* nothing is known to be expected."""
    lines = [
        *_family("resumed_up", "gauge", "Whether the daemon lives.", _up(glance)),
        *_family("resumed_paused", "gauge", "Whether nothing new is taken.", _paused(glance)),
        *_family("resumed_items", "gauge", "Items that are here, by state.", _states(numbers)),
        *_family("resumed_ended_items", "counter", "Items that ended.", _ended(glance)),
    ]
    for key, name, sentence in _FAMILIES:
        lines += _family(name, "gauge", sentence, [("", numbers[key])])
    if "last_arrival_seconds" in numbers:
        at = glance.now - numbers["last_arrival_seconds"]
        name = "resumed_last_arrival_timestamp_seconds"
        lines += _family(name, "gauge", "When the last item was claimed.", [("", at)])
    if glance.drained_at is not None:
        name = "resumed_last_drain_timestamp_seconds"
        sentence = "When the last drain ended well, since which no daemon is missed."
        lines += _family(name, "gauge", sentence, [("", glance.drained_at)])
    if disk is not None:
        name = "resumed_disk_free_bytes"
        lines += _family(name, "gauge", "Free space where items are kept.", [("", disk[0])])
    if expect is not None and (held := _alarms(numbers, expect)):
        lines += _family("resumed_alarm", "gauge", "Whether it is not as [expect] says.", held)
    return "\n".join([*lines, "# EOF", ""])


def _family(name: str, kind: str, sentence: str, samples: list[tuple[str, float]]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    unit = name.rsplit("_", 1)[1]
    if unit in ("seconds", "bytes"):
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {sentence}"
    suffix = "_total" if kind == "counter" else ""
    for labels, number in samples:
        yield f"{name}{suffix}{labels} {number:.15g}"


def _alarms(numbers: dict[str, float], expect: Expectations) -> list[tuple[str, float]]:
    held = health.alarms(numbers, expect)
    keys = [
        each.name.removesuffix("_seconds")
        for each in fields(expect)
        if getattr(expect, each.name) is not None
    ]
    return [(f'{{expect="{key}"}}', float(key in held)) for key in keys]


def _up(glance: Glance) -> list[tuple[str, float]]:
    return [("", float(glance.life.state == "up"))]


def _paused(glance: Glance) -> list[tuple[str, float]]:
    told = isinstance(glance.hints["now"].get("intake_paused"), str)
    return [("", float(glance.view.ledger.paused or told))]


def _states(numbers: dict[str, float]) -> list[tuple[str, float]]:
    return [(f'{{state="{state}"}}', numbers[state]) for state in documents.STATES]


def _ended(glance: Glance) -> list[tuple[str, float]]:
    counts = {"done": 0, "failed": 0, "gone": 0, "removed": 0} | glance.view.ledger.counts
    return [(f'{{outcome="{outcome}"}}', count) for outcome, count in sorted(counts.items())]
