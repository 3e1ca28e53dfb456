"""Find the items that a person means, and say of which of them a wish makes sense.

A name means an item by its id, by its own name, or by the name that it is kept as. Several
items may have one name: then all are meant of which the wish makes sense.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from resumed.documents import state_name
from resumed.entry import Entry
from resumed.ledger import Ledger
from resumed.text import escape

SENSE = {
    "retry": ("failed", "waiting"),
    "hold": ("pending", "waiting"),
    "release": ("held",),
    "remove": ("pending", "waiting", "held", "failed"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Hold the items that were meant, and why some names mean none."""

    entries: tuple[Entry, ...]
    complaints: tuple[str, ...]


def choose(ledger: Ledger, verb: str, names: Sequence[str]) -> Choice:
    """Find what *names* mean for *verb*."""
    chosen: dict[str, Entry] = {}
    complaints = []
    by_name = _index(ledger)
    for name in names:
        found = by_name.get(name, [])
        sensible = [entry for entry in found if state_name(entry.state) in SENSE[verb]]
        chosen.update((entry.id, entry) for entry in sensible)
        if not sensible:
            complaints.append(f"{escape(name)}: {_why_not(verb, found)}")
    return Choice(tuple(chosen.values()), tuple(complaints))


def _index(ledger: Ledger) -> dict[str, list[Entry]]:
    index: dict[str, list[Entry]] = {}
    for entry in ledger.items.values():
        for name in {entry.id, entry.name, entry.kept_as} - {None}:
            index.setdefault(str(name), []).append(entry)
    return index


def _why_not(verb: str, found: Sequence[Entry]) -> str:
    if not found:
        return "no item of that name is here; 'resumed-ctl ls' lists them"
    states = ", ".join(dict.fromkeys(state_name(entry.state) for entry in found))
    wanted = " or ".join(SENSE[verb])
    return f"is {states}; to {verb} it, it must be {wanted}"
