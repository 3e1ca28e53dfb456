"""Find the items that a person means, and say of which of them a wish makes sense.

A name means an item by its id, by its own name, or by the name that it is kept as; where none
has it, it may be a pattern. Several items may have one name: then all are meant of which the
wish makes sense.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from resumed.documents import state_name
from resumed.entry import Entry
from resumed.ledger import Ledger
from resumed.model import Failed, Waiting
from resumed.text import escape

SENSE = {
    "retry": ("failed", "waiting", "open"),
    "hold": ("pending", "waiting"),
    "release": ("held",),
    "remove": ("pending", "waiting", "held", "failed"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Hold the items that were meant, and why some names mean none."""

    entries: tuple[Entry, ...]
    complaints: tuple[str, ...]
    parts: tuple[str, ...] = ()  # ids of parts, when such were named


def choose(ledger: Ledger, verb: str, names: Sequence[str]) -> Choice:
    """Find what *names* mean for *verb*."""
    chosen: dict[str, Entry] = {}
    complaints = []
    by_name = _index(ledger)
    parts = []
    for name in names:
        found = by_name.get(name) or _matching(by_name, name)
        job, separator, part = name.partition("#")
        if not found and separator and verb == "retry":
            found = [entry for entry in by_name.get(job, []) if entry.job]
            parts += [f"{entry.id}#{part}" for entry in found]
        sensible = [entry for entry in found if state_name(entry.state) in SENSE[verb]]
        chosen.update((entry.id, entry) for entry in sensible)
        if not sensible:
            complaints.append(f"{escape(name)}: {_why_not(verb, found)}")
    if parts:  # what was named beside them is asked for by its id as well
        whole = [each for each in chosen if not any(p.startswith(f"{each}#") for p in parts)]
        parts = [*whole, *parts]
    return Choice(tuple(chosen.values()), tuple(complaints), tuple(parts))


def _index(ledger: Ledger) -> dict[str, list[Entry]]:
    index: dict[str, list[Entry]] = {}
    for entry in ledger.items.values():
        for name in {entry.id, entry.name, entry.kept_as} - {None}:
            index.setdefault(str(name), []).append(entry)
    return index


def failed(ledger: Ledger) -> Choice:
    """Choose all failed items."""
    return Choice(tuple(e for e in ledger.items.values() if isinstance(e.state, Failed)), ())


def narrow(choice: Choice, reason_part: str | None, since: float | None) -> Choice:
    """Keep what ended badly for a reason that holds *reason_part*, not before *since*."""
    if reason_part is None and since is None:
        return choice
    kept = []
    for entry in choice.entries:
        match entry.state:
            case Failed(_, _, fault, _, at, _) | Waiting(_, _, fault, at, _):
                told = f"{fault.kind}: {fault.text}".casefold()
                fits = reason_part is None or reason_part.casefold() in told
                if fits and (since is None or at >= since):
                    kept.append(entry)
            case _:
                pass
    return Choice(tuple(kept), choice.complaints, choice.parts)


def _matching(index: dict[str, list[Entry]], pattern: str) -> list[Entry]:
    names = (
        [name for name in index if fnmatch.fnmatchcase(name, pattern)]
        if any(each in pattern for each in "*?[")
        else []
    )
    return [entry for name in names for entry in index[name]]


def _why_not(verb: str, found: Sequence[Entry]) -> str:
    if not found:
        return "no item of that name is here; 'resumed-ctl ls' lists them"
    states = ", ".join(dict.fromkeys(state_name(entry.state) for entry in found))
    wanted = " or ".join(SENSE[verb])
    return f"is {states}; to {verb} it, it must be {wanted}"
