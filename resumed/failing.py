"""Look at what failed: `failures`.

With ``--json`` it prints the documents of `resumed.documents`; with ``--by`` one object for
each group, the largest first::

    {"by": "reason", "group": "ValueError: no such page", "count": 3, "first_at": "...",
     "last_at": "...", "names": ["a.txt", "b.txt", "c.txt"]}

on one line, *names* at most 10. Reasons that differ only in numbers and quoted words are one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from resumed import documents, listing, view
from resumed.documents import general_reason, reason
from resumed.entry import Entry
from resumed.errors import ConfigError
from resumed.model import Failed, Record, timestamp
from resumed.site import Site, advise, json_option, pass_site, show, show_json
from resumed.text import escape

if TYPE_CHECKING:
    from resumed.settings import Command, PythonHandler

_NAMES_LIMIT = 10
_CSV_COLUMNS = ("id", "name", "kept_as", "failed_at", "step", "attempts", "kind", "text")


@click.command("failures")
@click.option("--by", type=click.Choice(["reason", "step", "handler"]), help="Count by this.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@json_option
@pass_site
def failures_command(site: Site, by: str | None, *, as_csv: bool, as_json: bool) -> None:
    """List what failed: when, in which step, after how many attempts, and why."""
    if as_csv and (as_json or by):
        raise click.UsageError("--csv goes with neither --json nor --by")
    ledger = view.look(site.paths, {"failed"}).ledger
    failed = list(_failed(ledger.items.values()))
    if by:
        _print_groups(site, by, failed, as_json=as_json)
    elif as_json:
        for entry, _ in failed:
            show_json(documents.item(entry))
    elif as_csv:
        click.echo(_csv(failed), nl=False)
    else:
        _print(site, failed)


def _print(site: Site, failed: list[tuple[Entry, Failed]]) -> None:
    rows = [
        (
            escape(state.kept_as or entry.name),
            listing.moment(state.at),
            escape(state.step or "-"),
            listing.plural(entry.attempts, "attempt"),
            reason(state.fault),
        )
        for entry, state in failed
    ]
    show(rows)
    if failed:
        advise(f"the whole story: '{site.command} show NAME'; again: '{site.command} retry NAME'")
        if any(entry.job for entry, _ in failed):
            advise(f"the parts of a job: '{site.command} jobs failures NAME'")
    else:
        advise("nothing failed")


@dataclass(slots=True)
class _Group:
    group: str
    count: int = 0
    times: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def document(self, by: str) -> Record:
        return {
            "by": by,
            "group": self.group,
            "count": self.count,
            "first_at": timestamp(min(self.times)),
            "last_at": timestamp(max(self.times)),
            "names": self.names,
        }

    def shown(self, by: str) -> str:
        """Write what they have in common, harmless for a terminal; a reason is so already."""
        return self.group if by == "reason" else escape(self.group)


def _print_groups(
    site: Site, by: str, failed: list[tuple[Entry, Failed]], *, as_json: bool
) -> None:
    handlers = _handlers(site) if by == "handler" else {}
    groups: dict[str, _Group] = {}
    for entry, state in failed:
        step = state.step or "-"
        key = general_reason(state.fault) if by == "reason" else handlers.get(step, step)
        found = groups.setdefault(key, _Group(key))
        found.count += 1
        found.times.append(state.at)
        if len(found.names) < _NAMES_LIMIT:
            found.names.append(entry.name)
    ordered = sorted(groups.values(), key=lambda group: -group.count)
    if as_json:
        for group in ordered:
            show_json(group.document(by))
        return
    show(
        [
            (str(each.count), listing.moment(max(each.times)), each.shown(by), _example(each))
            for each in ordered
        ]
    )


def _example(group: _Group) -> str:
    more = ", ..." if group.count > 1 else ""
    return escape(group.names[0]) + more


def _handlers(site: Site) -> dict[str, str]:
    """Name what runs each configured step; "-" is the whole handler."""
    try:
        handler = site.config().handler
    except ConfigError:
        return {}
    if not isinstance(handler, tuple):
        return {"-": _called(handler)}
    return {step.name: _called(step.run) for step in handler}


def _called(run: "PythonHandler | Command") -> str:
    argv: tuple[str, ...] = getattr(run, "argv", ())
    return " ".join(argv) or f"{getattr(run, 'module', '')}:{getattr(run, 'function', '')}"


def _csv(failed: list[tuple[Entry, Failed]]) -> str:
    import csv  # noqa: PLC0415 - for those who ask for it
    import io  # noqa: PLC0415

    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_CSV_COLUMNS)
    for entry, state in failed:
        kind, words = state.fault.kind, state.fault.text
        cells = (entry.name, state.kept_as or "", timestamp(state.at), state.step or "")
        writer.writerow(map(_cell, (entry.id, *cells, str(entry.attempts), kind, words)))
    return out.getvalue()


def _cell(value: str) -> str:
    """Escape a cell; one that a spreadsheet would calculate is made a text."""
    shown = escape(value)
    return f"'{shown}" if shown[:1] in "=+-@" and shown else shown


def _failed(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Failed]]:
    for entry in entries:
        if isinstance(entry.state, Failed):
            yield entry, entry.state
