"""Compare a new file of a job with what the job's journal knows of its parts.

As when the daemon reads the file, ids decide which part a record is and contents whether it
is still the same; a part of which nothing was recorded is new. So that is said here, before
anything is asked of the daemon, what it will do::

    {"new": ["p9"], "changed": ["p3"], "again": ["p4"], "unchanged": ["p1", "p2"],
     "gone": ["p7", "line 12"], "bad": ["line 5"]}

*new* and *changed* parts run, and *again* runs what is as it was and has not been done.
*unchanged* ones are done and stay so, *gone* is what the file before had and
the new one has not, and *bad* are lines of it that cannot be parts.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from resumed import jobbook, records, tables
from resumed.jobledger import JobLedger
from resumed.model import Record
from resumed.records import Bad, Part
from resumed.roll import DONE


@dataclass(frozen=True, slots=True)
class Comparison:
    """List parts by their ids, in the order of the new file; what is gone in the journal's."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    def document(self) -> Record:
        """Describe it; see the module."""
        names = ("new", "changed", "again", "unchanged", "gone", "bad")
        return {name: getattr(self, name) for name in names}

    def words(self) -> str:
        """Count it in a sentence."""
        counts = (
            f"{len(self.new)} new",
            f"{len(self.changed)} changed",
            f"{len(self.unchanged) + len(self.again)} unchanged",
            f"{len(self.gone)} gone",
        )
        runs = len(self.new) + len(self.changed) + len(self.again)
        bad = f", {len(self.bad)} that cannot be parts" if self.bad else ""
        return f"{', '.join(counts)}{bad}; {runs} to run"


def compare(
    journal: Path, opener: Callable[[], BinaryIO], name: str, id_field: str | None
) -> Comparison:
    """Compare the file that *opener* opens, and *name* tells the kind of, with a job's journal.

    Raises:
        OSError: One of them cannot be read.
        UnusableError: Nothing of the file can be read.
        JournalError: A person must look at the journal.
    """
    ledger, _ = jobbook.replay(journal)
    told = Comparison()
    seen: dict[int, int] = {}
    with closing(tables.reader(opener, name, id_field)) as lines:
        for found in lines:
            if isinstance(found, Part):
                _sort(found, ledger, seen, told)
            elif isinstance(found, Bad):
                seen[found.mark] = found.content
                told.bad.append(found.id)
    named: dict[int, str] = {}

    def note(record: Record) -> None:
        mark = records.unkey(record["key"])[0] if record.get("key") and "part" in record else None
        if mark is not None and mark not in seen and ledger.roll.find(mark) not in ledger.gone:
            named[mark] = record["part"]

    jobbook.read(journal, note)
    told.gone.extend(named.values())
    return told


def _sort(found: Part, ledger: JobLedger, seen: dict[int, int], told: Comparison) -> None:
    """Put one part where it belongs; the second of two with one id and one content is none."""
    if found.mark in seen:
        if seen[found.mark] != found.content:
            double = records.bad(found.offset, found.line, b"", "")
            seen[double.mark] = found.content
            told.bad.append(double.id)
        return
    seen[found.mark] = found.content
    number = ledger.roll.find(found.mark)
    if number is None:
        told.new.append(found.id)
    elif ledger.roll.contents[number] != found.content:
        told.changed.append(found.id)
    elif ledger.roll.states[number] == DONE:
        told.unchanged.append(found.id)
    else:
        told.again.append(found.id)
