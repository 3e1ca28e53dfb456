"""Ask for changes: `retry`, `hold`, `release`, `remove`, `pause`, `unpause`, `reload`.

Each waits for the daemon's answer. With ``--json`` it prints one object for each request::

    {"request": "9f...a1.request", "verb": "retry", "ok": true, "waits": null,
     "answer": ["a.jpg: taken up again"]}

on one line. *waits* is null once it was answered; "down", "hung" or "busy" say why it was
not, and then *answer* is empty: what was asked is done by the next start or drain, or when
the daemon comes round. ``retry JOB --with FILE`` adds *parts*, as `resumed.comparison` has
them. Exit 0 when all was done or waits, 1 when something was refused.
"""

import time
from collections.abc import Callable
from pathlib import Path

import click

from resumed import completing, documents, selection, view, when
from resumed.asking import Answer, ask
from resumed.listing import plural
from resumed.selection import Choice
from resumed.site import Site, json_option, pass_site, show_json, warn
from resumed.text import escape

_WAITS = {
    "down": "the daemon is not running: what was asked is done by its next start or drain",
    "hung": "the daemon hangs: what was asked is done when it turns again, or by its next start",
    "busy": "no answer yet: what was asked is done when the daemon comes round",
}

_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def _names(*states: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Take names of items; a shell completes those in one of *states*."""
    complete = completing.names(*states)
    return click.argument("names", nargs=-1, metavar="NAME...", shell_complete=complete)


@click.command("retry")
@_names("failed", "waiting")
@click.option("--all", "everything", is_flag=True, help="All failed items that are yours.")
@click.option("--fresh", is_flag=True, help="Forget the recorded steps.")
@click.option("--reason", metavar="TEXT", help="Only those whose reason holds this text.")
@click.option("--since", metavar="WHEN", help='Only those that failed since "2h", "yesterday".')
@click.option("-n", "--dry-run", is_flag=True, help="Only list what would be taken up.")
@click.option("--with", "file", type=click.Path(path_type=Path), help="Go on with this file.")
@json_option
@pass_site
def retry_command(  # noqa: PLR0913 - its options
    site: Site,
    names: tuple[str, ...],
    reason: str | None,
    since: str | None,
    file: Path | None,
    *,
    everything: bool,
    fresh: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Take failed items up again, where they stopped; waiting ones at once.

    NAME is an item's name, its id, the name that it is kept as in failed/, or a pattern. Of a
    job only what failed is taken up; JOB#PART is one part of it. --with gives a failed job
    another file: of that, only what failed before, is new or was changed runs. It says how
    many parts are new, changed, unchanged and gone, and with --json which.
    """
    if file is not None:
        return _replace(site, names, file, dry_run=dry_run, as_json=as_json)
    chosen_by = reason is not None or since is not None
    if everything == bool(names) and not (chosen_by and not names):
        raise click.UsageError(
            "name items, or say --all, --reason or --since; --all goes with no names"
        )
    if everything and not (chosen_by or dry_run):
        return _tell(ask(site.paths, "retry", all=True, fresh=fresh), as_json=as_json)
    ledger = view.look(site.paths).ledger
    choice = selection.choose(ledger, "retry", names) if names else selection.failed(ledger)
    choice = selection.narrow(choice, reason, when.option(since, time.time()))
    if not dry_run:
        return _wish(site, "retry", choice, as_json=as_json, fresh=fresh)
    for entry in choice.entries:
        if as_json:
            show_json(documents.item(entry))
        else:
            click.echo(f"{entry.id}  {escape(entry.name)}")
    return _complain(choice)


@click.command("hold")
@_names("pending", "waiting")
@json_option
@pass_site
def hold_command(site: Site, names: tuple[str, ...], *, as_json: bool) -> int:
    """Take items that have not begun, or wait for another attempt, out of the way."""
    return _wish(site, "hold", _choose(site, "hold", names), as_json=as_json)


@click.command("release")
@_names("held")
@click.option("--all", "everything", is_flag=True, help="All held items that are yours.")
@json_option
@pass_site
def release_command(site: Site, names: tuple[str, ...], *, everything: bool, as_json: bool) -> int:
    """Let held items go on."""
    if everything == bool(names):
        raise click.UsageError("name items, or say --all; not both")
    if everything:
        return _tell(ask(site.paths, "release", all=True), as_json=as_json)
    return _wish(site, "release", _choose(site, "release", names), as_json=as_json)


@click.command("remove")
@_names("pending", "waiting", "held", "failed")
@_yes_option
@json_option
@pass_site
def remove_command(site: Site, names: tuple[str, ...], *, yes: bool, as_json: bool) -> int:
    """Delete items together with their files, for good."""

    def sure(choice: Choice) -> bool:
        for entry in choice.entries:
            click.echo(f"{entry.id}  {escape(entry.name)}", err=True)
        question = f"Delete {plural(len(choice.entries), 'item')}, files and all, for good?"
        try:
            return yes or click.confirm(question, err=True)
        except click.Abort:
            warn("nothing was removed; where nobody can be asked, say --yes")
            return False

    choice = _choose(site, "remove", names)
    return _wish(site, "remove", choice, as_json=as_json, sure=sure)


def _whole(verb: str, sentence: str) -> click.Command:
    """Make the command for a wish about the whole."""

    @click.command(verb, help=sentence)
    @json_option
    @pass_site
    def command(site: Site, *, as_json: bool) -> int:
        return _tell(ask(site.paths, verb), as_json=as_json)

    return command


pause_command = _whole("pause", "Take nothing new from the inbox; what runs goes on.")
unpause_command = _whole("unpause", "Take files from the inbox again.")
reload_command = _whole("reload", "Read the configuration again, between two items.")


def _replace(
    site: Site, names: tuple[str, ...], file: Path, *, dry_run: bool, as_json: bool
) -> int:
    """Let one failed job go on with another file, and say what that changes."""
    choice = _choose(site, "retry", names)
    if len(choice.entries) != 1 or choice.parts:
        warn("--with is for one failed job, and for all of it")
        return _complain(choice) or 1
    from resumed import jobasking  # noqa: PLC0415 - seldom needed

    entry = choice.entries[0]
    settings = site.config().job
    told = jobasking.compare(site.paths, entry, file, settings.id if settings else None)
    answers = [] if dry_run else jobasking.retry_with(site.paths, entry.id, file)
    if as_json:
        for document in [answer.document() for answer in answers] or [{}]:
            show_json(document | ({"parts": told.document()} if told else {}))
        return 0 if all(answer.ok for answer in answers) else 1
    status = _tell(answers, as_json=False)
    if told and not status:
        click.echo(f"{escape(entry.name)}: {told.words()}")
    return status


def _choose(site: Site, verb: str, names: tuple[str, ...]) -> Choice:
    if not names:
        raise click.UsageError("name at least one item")
    return selection.choose(view.look(site.paths).ledger, verb, names)


def _wish(  # noqa: PLR0913 - what a wish consists of
    site: Site,
    verb: str,
    choice: Choice,
    *,
    as_json: bool,
    sure: Callable[[Choice], bool] = lambda _: True,
    fresh: bool = False,
) -> int:
    """Ask for *verb* on the items of *choice*; return the exit status."""
    refused = _complain(choice)
    if not choice.entries:
        if not refused:
            warn("no item fits; nothing was asked")
        return 1
    if not sure(choice):
        return 1
    ids = choice.parts or [entry.id for entry in choice.entries]
    status = _tell(ask(site.paths, verb, ids, fresh=fresh), as_json=as_json)
    return refused or status


def _complain(choice: Choice) -> int:
    for complaint in choice.complaints:
        warn(complaint)
    return 1 if choice.complaints else 0


def _tell(answers: list[Answer], *, as_json: bool) -> int:
    """Print the answers; return the exit status."""
    for answer in answers:
        if as_json:
            show_json(answer.document())
            continue
        for line in answer.lines:
            click.echo(escape(line))
        if not answer.lines and not answer.waits:
            click.echo(f"nothing to {answer.verb}")
        if answer.waits:
            click.echo(_WAITS[answer.waits])
    return 0 if all(answer.ok for answer in answers) else 1
