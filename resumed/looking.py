"""Look at what is here: `status` and `ls`.

With ``--json``, `ls` prints the documents of `resumed.documents`, and
``{"name": "b.jpg", "state": "inbox"}`` for what was not taken yet; `status` prints that of
`resumed.picture`.
"""

import sys

import click

from resumed import documents, glance, listing
from resumed.documents import STATES, state_name
from resumed.entry import Entry
from resumed.model import Pending, Waiting
from resumed.picture import STATES_TOLD, Picture
from resumed.site import Site, coloured, json_option, pass_site, show, show_json, show_line, warn
from resumed.text import escape


@click.command("status")
@click.option("--watch", is_flag=True, help="Stay, and show what changes.")
@json_option
@pass_site
def status_command(site: Site, *, watch: bool, as_json: bool) -> None:
    """Tell at a glance what runs, waits and failed, and whether the daemon lives."""
    if watch:
        _watch(site, as_json=as_json)
    picture = Picture(glance.look(site.paths, STATES_TOLD), glance.disk(site.paths))
    if picture.glance.view.doubt:
        warn(f"may not survive a power cut: {picture.glance.view.doubt}")
    if as_json:
        show_json(picture.document())
        return
    lines = picture.lines(site.command)
    show_line(next(lines), "red" if picture.troubles() else "green")
    for line in lines:
        show_line(line)


def _watch(site: Site, *, as_json: bool) -> None:
    from resumed import watching  # noqa: PLC0415 - for those who stay

    if as_json:
        for document in watching.documents(site.paths):
            show_json(document)
            sys.stdout.flush()
    if not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal, or --json")
    watching.draw(site.paths, site.command, colours=coloured())


@click.command("ls")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*STATES, "inbox"]),
    help="Only items in this state; may be given more than once.",
)
@json_option
@pass_site
def ls_command(site: Site, *, states: tuple[str, ...], as_json: bool) -> None:
    """List the items that are here: in the inbox, running, waiting, held, failed."""
    seen = glance.look(site.paths)
    chosen = [
        entry
        for entry in seen.view.ledger.items.values()
        if not states or state_name(entry.state) in states
    ]
    with_inbox = not states or "inbox" in states
    arrivals = list(glance.names(site.paths.inbox)) if with_inbox else []
    if as_json:
        for entry in chosen:
            show_json(documents.item(entry, seen.told(entry)))
        for name in arrivals:
            show_json({"name": name, "state": "inbox"})
        return
    rows = [_row(entry, seen.now) for entry in chosen]
    rows += [("-", "inbox", "", escape(name)) for name in arrivals]
    show(rows)


def _row(entry: Entry, now: float) -> tuple[str, ...]:
    return entry.id, state_name(entry.state), _when(entry, now), escape(entry.name)


def _when(entry: Entry, now: float) -> str:
    match entry.state:
        case Waiting(_, _, _, at, delay):
            return f"due {listing.clock(at + delay, now)}"
        case Pending():
            return listing.moment(entry.claimed_at)
        case state:
            return listing.moment(documents.at_of(state) or entry.claimed_at)
