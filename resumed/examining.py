"""Examine an instance: `audit`, `health`, `metrics`, `doctor`, `report`.

With ``--json`` `audit` prints one object for what does not agree, nothing when all does::

    {"kind": "missing", "place": "/x/active/019a.../a.txt", "sentence": "...", "id": "019a..."}

`health` one object: ``{"status": "ok", "why": [], "numbers": {"pending": 0, ...}}``, and
`doctor` one for each finding: ``{"verdict": "fine", "about": "...", "sentence": "..."}``,
where the verdict is fine, warning or wrong. `metrics` prints the numbers of `health`, and
`report` ``{"file": "week.html", "since": "2026-11-15T00:00:00.000Z", "until": "..."}``.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click

from resumed import audit, durable, glance, health, metrics, text, when
from resumed.errors import ConfigError, JournalError
from resumed.health import CRITICAL, UNKNOWN, Health
from resumed.listing import plural
from resumed.model import timestamp
from resumed.rules import Rules
from resumed.settings import Expectations
from resumed.site import Site, json_option, pass_site, show_json, show_line
from resumed.text import escape
from resumed.view import RefusedError

_COLOURS = {"fine": None, "warning": "yellow", "wrong": "red"}


@click.command("audit")
@json_option
@pass_site
def audit_command(site: Site, *, as_json: bool) -> int:
    """Prove that nothing is lost: journal and folders agree, both ways; 1 when not."""
    found = audit.audit(site.paths, marker_of=_marker_of(site))
    for each in found.discrepancies:
        if as_json:
            show_json(each.document())
        else:
            click.echo(f"{each.kind}: {escape(each.place)}: {escape(each.sentence)}")
    if not as_json:
        told = f"{plural(found.items, 'item')} and {plural(found.files, 'file')} looked at"
        wrong = plural(len(found.discrepancies), "discrepancy").replace("cys", "cies")
        click.echo(f"{told}: {wrong if found.discrepancies else 'all agree'}")
    return 1 if found.discrepancies else 0


def _marker_of(site: Site) -> Callable[[str], str | None]:
    """Return what names a file's marker; a wrong configuration names none."""
    with suppress(ConfigError):
        config = site.config()
        return Rules(config.match, config.ignore, config.marker).marker_of
    return lambda _: None


@click.command("health")
@json_option
@pass_site
def health_command(site: Site, *, as_json: bool) -> int:
    """Judge for a monitoring system: one line, and 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
    expect, mistakes = _expected(site)
    try:
        verdict = health.judge(site.paths, glance.look(site.paths), expect, mistakes)
    except ConfigError:  # it does not even tell where to look
        verdict = Health(UNKNOWN, mistakes, {})
    except RefusedError as error:
        verdict = Health(UNKNOWN, (str(error),), {})
    except JournalError as error:
        verdict = Health(CRITICAL, (str(error),), {})
    if as_json:
        show_json(verdict.document())
    else:
        click.echo(verdict.line())
    return verdict.status


def _expected(site: Site) -> tuple[Expectations, tuple[str, ...]]:
    """Return what is expected, and why that is not known."""
    try:
        return site.config().expect, ()
    except ConfigError as error:
        return Expectations(), tuple(map(str, error.mistakes))


@click.command("metrics")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Replace this file."
)
@json_option
@pass_site
def metrics_command(site: Site, output: Path | None, *, as_json: bool) -> None:
    """Write OpenMetrics text, for node_exporter's textfile collector or by a timer.

    With --json the numbers alone, as `health --json` has them.
    """
    if as_json and output is not None:
        raise click.UsageError("--json goes without --output")
    seen = glance.look(site.paths)
    numbers = health.measure(site.paths, seen)
    if as_json:
        show_json(numbers)
        return
    try:
        expect = site.config().expect
    except ConfigError:  # the numbers are right without it
        expect = None
    told = metrics.exposition(seen, numbers, glance.disk(site.paths), expect)
    if output is None:
        sys.stdout.write(told)
        return
    _replace(output, told)


@click.command("report")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page; it is replaced.",
)
@click.option("--since", default="1d", show_default=True, help='"1d", "yesterday", "2026-11-22".')
@json_option
@pass_site
def report_command(site: Site, output: Path, since: str, *, as_json: bool) -> None:
    """Draw a period as one self-contained HTML page."""
    from resumed import chronicle, page, view  # noqa: PLC0415 - for this command only

    now = time.time()
    begin = min(when.option(since, now) or now, now - 1)
    ledger = view.look(site.paths).ledger
    drawn = page.page(chronicle.gather(site.paths, ledger, begin, now), str(site.paths.spool))
    _replace(output, drawn)
    if as_json:
        show_json({"file": str(output), "since": timestamp(begin), "until": timestamp(now)})
    else:
        click.echo(f"{escape(str(output))}: written")


def _replace(file: Path, content: str) -> None:
    folder = durable.open_folder(file.absolute().parent)
    try:
        durable.replace(folder, file.name, content.encode(), 0o644)
    finally:
        os.close(folder)


@click.command("doctor")
@click.option("--observe", "span", metavar="SPAN", help='Watch deliveries for so long, as "60s".')
@json_option
@pass_site
def doctor_command(site: Site, span: str | None, *, as_json: bool) -> int:
    """Try everything that an instance depends on; 1 when something is wrong.

    With --observe nothing is tried; watched is how producers deliver into the inbox, and
    proposed are settle, ignore and match that fit them.
    """
    from resumed import doctor, observing  # noqa: PLC0415 - imports half of the daemon

    if span is None:
        findings = doctor.examine(site.config())
    else:
        findings = observing.observe(site.config(), _seconds(span))
    wrong = False
    for each in findings:
        wrong = wrong or each.verdict == "wrong"
        if as_json:
            show_json(each.document())
        else:
            show_line(
                f"{each.verdict:8} {each.about}: {escape(each.sentence)}", _COLOURS[each.verdict]
            )
    return 1 if wrong else 0


def _seconds(span: str) -> float:
    try:
        return text.parse_duration(span)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--observe") from error
