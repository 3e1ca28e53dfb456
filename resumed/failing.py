"""Look at what failed: `failures`. With ``--json`` the documents of `resumed.documents`."""

from collections.abc import Iterable, Iterator

import click

from resumed import documents, listing, view
from resumed.documents import reason
from resumed.entry import Entry
from resumed.model import Failed
from resumed.site import Site, advise, json_option, pass_site, show, show_json
from resumed.text import escape


@click.command("failures")
@json_option
@pass_site
def failures_command(site: Site, *, as_json: bool) -> None:
    """List what failed: when, in which step, after how many attempts, and why."""
    ledger = view.look(site.paths).ledger
    failed = list(_failed(ledger.items.values()))
    if as_json:
        for entry, _ in failed:
            show_json(documents.item(entry))
        return
    show(
        [
            (
                escape(state.kept_as or entry.name),
                listing.moment(state.at),
                escape(state.step or "-"),
                listing.plural(entry.attempts, "attempt"),
                reason(state.fault),
            )
            for entry, state in failed
        ]
    )
    if failed:
        advise(f"the whole story: '{site.command} show NAME'; again: '{site.command} retry NAME'")
    else:
        advise("nothing failed")


def _failed(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Failed]]:
    for entry in entries:
        if isinstance(entry.state, Failed):
            yield entry, entry.state
