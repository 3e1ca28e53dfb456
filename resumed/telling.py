"""Tell what happened: `show`, `history`, `export`.

With ``--json``, `show` prints for each item its document (`resumed.documents`) with all its
facts under "story"; `history` prints the facts by which items ended, each with its "name"
(null when the record of its claim is no longer kept). `export` prints one object::

    {"a.jpg": {"search": {"hits": 3}, "watermark": ["OSError", "disk full"]},
     "b.jpg": {"search": false, "watermark": false}, "c.txt": {"handler": false}}

item → step → false (not yet) | its result | [error type, message]. The key "handler" stands
for the whole of an item that has no steps, or whose steps are not known before it ends. Of
several items with one name the latest is shown.
"""

import fnmatch
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress

import click

from resumed import completing, history, listing, story, view, when
from resumed.documents import fact, item, reason
from resumed.errors import ConfigError
from resumed.ledger import Ledger
from resumed.model import Fault, Record, instant
from resumed.phrases import phrase, printed
from resumed.site import Site, advise, json_option, pass_site, show_json, warn
from resumed.text import escape
from resumed.view import Follower

_PAUSE_SECONDS = 0.1


@click.command("show")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing.names()
)
@json_option
@pass_site
def show_command(site: Site, names: tuple[str, ...], *, as_json: bool) -> int:
    """Tell the whole story of an item: every attempt, step, result and error.

    NAME is an item's name, its id, or the name that it is kept as. Of items that are over,
    the latest of that name is shown.
    """
    ledger = view.look(site.paths).ledger
    missing = 0
    for name in names:
        found = list(_stories(site, ledger, name))
        for document, facts in found:
            if as_json:
                show_json({**document, "story": facts})
            else:
                for line in printed(document, facts):
                    click.echo(line)
        if not found:
            missing += 1
            warn(f"{escape(name)}: no item of that name; '{site.command} why' looks at files")
    return 1 if missing else 0


def _stories(site: Site, ledger: Ledger, name: str) -> Iterator[tuple[Record, list[Record]]]:
    live = [e for e in ledger.items.values() if name in (e.id, e.name, e.kept_as)]
    for entry in live:
        yield item(entry), [fact(each) for each in story.of_item(site.paths, entry.id)]
    if live:
        return
    past = story.ids_called(site.paths, name)
    for item_id in past[-1:]:
        facts = story.of_item(site.paths, item_id)
        yield story.told_of_past(item_id, facts), [fact(each) for each in facts]
    if len(past) > 1:
        advise(f"{len(past) - 1} before it had that name: '{site.command} history NAME'")


@click.command("history")
@click.argument("patterns", nargs=-1, metavar="[NAME]...")
@click.option("--since", help='From then on: "yesterday", "2h", "2026-11-22 14:00".')
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(story.OUTCOMES),
    help="Only items that ended so; may be given more than once.",
)
@click.option("-n", "--lines", type=click.IntRange(min=1), help="Only the last so many.")
@json_option
@pass_site
def history_command(  # noqa: PLR0913 - its options
    site: Site,
    patterns: tuple[str, ...],
    since: str | None,
    states: tuple[str, ...],
    lines: int | None,
    *,
    as_json: bool,
) -> None:
    """List how items ended, oldest first; NAME may be a pattern."""
    from_then = when.option(since, time.time())
    view.look(site.paths)
    ended = story.outcomes(site.paths, since=from_then)
    chosen = (
        each
        for each in ended
        if (not states or each["kind"] in states) and _fits(each["name"], patterns)
    )
    for each in deque(chosen, maxlen=lines) if lines else chosen:
        if as_json:
            show_json(each)
        else:
            click.echo(listing.GAP.join(_ending(each)))


def _fits(name: str | None, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name or "", each) for each in patterns)


def _ending(record: Record) -> tuple[str, ...]:
    told = phrase(record)
    if "error" in record:
        told = reason(Fault(record["error"]["kind"], record["error"]["text"]))
    name = "(name no longer kept)" if record["name"] is None else escape(record["name"])
    at = listing.moment(instant(record["at"]))
    return at, listing.pad(record["kind"], len("removed")), record["id"], name, told


@click.command("log")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.names())
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option("--since", help='From then on: "yesterday", "2h", "2026-11-22 14:00".')
@json_option
@pass_site
def log_command(
    site: Site, names: tuple[str, ...], since: str | None, *, follow: bool, as_json: bool
) -> None:
    """Tell what happened to items, one line for each fact, and with -f what happens.

    NAME is a name, an id or a pattern; without one all are told.
    """
    diary = story.Diary(names)
    start = when.option(since, time.time())
    # A follower that begins before the past is read misses nothing in between.
    with closing(Follower(site.paths.journal)) as follower:
        _polled(follower)
        told: dict[str, int] = {}
        for record in diary.pick(_noted(story.everything(site.paths), told)):
            if start is None or instant(record["at"]) >= start:
                _tell(diary, record, as_json=as_json)
        while follow:
            time.sleep(_PAUSE_SECONDS)
            for record in diary.pick(_polled(follower)):
                if history.is_news(record) and record["n"] > told.get(record["g"], 0):
                    _tell(diary, record, as_json=as_json)


def _noted(records: Iterable[Record], told: dict[str, int]) -> Iterator[Record]:
    """Note of each generation how far it was told: some came after the follower had begun."""
    for record in records:
        told[record["g"]] = max(record["n"], told.get(record["g"], 0))
        yield record


def _polled(follower: Follower) -> list[Record]:
    with suppress(FileNotFoundError):
        return list(follower.records())
    return []


def _tell(diary: story.Diary, record: Record, *, as_json: bool) -> None:
    name = diary.name_of(record)
    if as_json:
        show_json({**fact(record), "name": name})
        return
    at = listing.moment(instant(record["at"]))
    click.echo(f"{at}  {escape(name or '-')}: {phrase(fact(record))}")


@click.command("export")
@json_option
@pass_site
def export_command(site: Site, *, as_json: bool) -> None:
    """Print a status.json: item, step, and false, its result, or [error type, message].

    An item without steps has the one key "handler". With --json it is on one line.
    """
    seen = view.look(site.paths)
    told = story.status_json(
        story.past_items(site.paths), seen.ledger.items.values(), _planned(site)
    )
    if as_json:
        show_json(told)
        return
    lines = (f"  {json.dumps(name)}: {json.dumps(steps)}" for name, steps in told.items())
    click.echo("{\n" + ",\n".join(lines) + "\n}")


def _planned(site: Site) -> tuple[str, ...]:
    """Name the configured steps; a wrong configuration hides them, and nothing else."""
    try:
        handler = site.config().handler
    except ConfigError:
        return ()
    return tuple(step.name for step in handler) if isinstance(handler, tuple) else ()
