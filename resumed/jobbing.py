"""Look at jobs and submit them: `jobs ls|info|pending|failures|wait`, `submit`, `cancel`.

Everything but `cancel` and `submit` only reads. With ``--json`` each job is one object a
line, as `resumed.jobview` describes it, and each failure is one as well.
"""

import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path

import click

from resumed import completing, durable, jobview, listing, records, roll, tables, view
from resumed.asking import Answer, ask
from resumed.errors import UsageError
from resumed.jobview import JobView
from resumed.model import JSON, Record
from resumed.rules import Rules
from resumed.site import Site, json_option, pass_site, show, show_json
from resumed.text import escape
from resumed.view import RefusedError

_PAUSE_SECONDS = 0.2
_job = click.argument("job", metavar="JOB", shell_complete=completing.names())


@click.group("jobs")
def jobs_command() -> None:
    """Look at jobs: files of records, each record a part with attempts of its own."""


@jobs_command.command("ls")
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@click.option("--ids", is_flag=True, help="Print ids only.")
@json_option
@pass_site
def ls_command(site: Site, *, everything: bool, ids: bool, as_json: bool) -> None:
    """List the jobs that are open or failed."""
    now = time.time()
    rows: list[tuple[str, ...]] = [
        ("JOB", "NAME", "STATE", "PARTS", "DONE", "FAILED", "RUNNING", "RATE", "LEFT")
    ]
    for each in jobview.jobs(site.paths, over=everything):
        if ids:
            click.echo(each.id)
        elif as_json:
            show_json(each.document(now))
        else:
            rows.append(_row(each, now))
    if len(rows) > 1:
        show(rows)


@jobs_command.command("info")
@_job
@json_option
@pass_site
def info_command(site: Site, job: str, *, as_json: bool) -> None:
    """Tell all about a job but its parts."""
    told = jobview.find(site.paths, job).document(time.time())
    if as_json:
        show_json(told)
        return
    lines = [(key.replace("_", " "), _plain(value)) for key, value in told.items()]
    show([(key, value) for key, value in lines if value])


@jobs_command.command("failures")
@_job
@json_option
@pass_site
def failures_command(site: Site, job: str, *, as_json: bool) -> int:
    """List the parts that failed, or wait for another attempt, and why."""
    found = jobview.find(site.paths, job)
    failures = list(found.failures())
    for each in failures:
        if as_json:
            show_json(each)
            continue
        error = each["error"]
        click.echo(f"{escape(each['part'])}  {each['state']}  {_words(error)}")
    if not as_json and failures:
        click.echo(f"again: '{site.command} retry {found.id}', or with another file '--with FILE'")
    return 0 if failures else 1


@jobs_command.command("pending")
@_job
@json_option
@pass_site
def pending_command(site: Site, job: str, *, as_json: bool) -> None:
    """List the ids of the parts that are not done and did not fail; reads the job's file."""
    found = jobview.find(site.paths, job)
    settings = site.config().job
    path = _file_of(site, found)
    try:
        lines = tables.reader(
            lambda: path.open("rb"), found.name, settings.id if settings else None
        )
    except OSError as error:
        raise RefusedError(
            f"{path}: {error.strerror}; only an open job has pending parts"
        ) from None
    known = found.ledger.roll
    with closing(lines):
        for each in lines:
            if isinstance(each, records.Part):
                number = known.find(each.mark)
                if number is None or known.states[number] in (roll.PENDING, roll.WAITING):
                    show_json(each.id) if as_json else click.echo(escape(each.id))


def _file_of(site: Site, found: JobView) -> Path:
    """Name the file of a job that is open, or was and failed."""
    path = site.paths.active / found.id / found.name.rpartition("/")[2]
    if path.exists():
        return path
    entry = view.look(site.paths).ledger.items.get(found.id)
    return site.paths.failed / (entry.kept_as if entry and entry.kept_as else found.name)


@jobs_command.command("wait")
@_job
@click.option("--seconds", type=float, default=None, help="Give up after so long, with 4.")
@pass_site
def wait_command(site: Site, job: str, *, seconds: float | None) -> int:
    """Wait until a job is over: 0 when it is done, 1 when it failed."""
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            found = jobview.find(site.paths, job)
        except RefusedError:
            if until is None or time.monotonic() >= until:
                raise
            time.sleep(_PAUSE_SECONDS)
            continue
        if sys.stderr.isatty():
            counts = found.counts()
            told = f"{counts['done']} of {counts['parts'] or '?'} done, {counts['failed']} failed"
            click.echo(f"\r{escape(found.name)}: {told}   ", nl=False, err=True)
        if found.state in ("done", "failed"):
            if sys.stderr.isatty():
                click.echo(err=True)
            click.echo(f"{escape(found.name)}: {found.state}")
            return 0 if found.state == "done" else 1
        if until is not None and time.monotonic() >= until:
            return 4
        time.sleep(_PAUSE_SECONDS)


@click.command("cancel")
@_job
@json_option
@pass_site
def cancel_command(site: Site, job: str, *, as_json: bool) -> int:
    """Give an open job up: what runs ends, the rest is skipped, its file goes to failed/."""
    found = jobview.find(site.paths, job)
    return told(ask(site.paths, "cancel", [found.id]), as_json=as_json)


@click.command("submit")
@click.option("--each", "paths", multiple=True, metavar="PATH", help="A file for a part; repeat.")
@click.argument("more", nargs=-1, metavar="[PATH...]", type=click.Path())
@click.option("--meta", "metadata", multiple=True, metavar="KEY=VALUE", help="Told to the reduce.")
@click.option("--name", default=None, help="The job's name; must match [job] match.")
@pass_site
def submit_command(
    site: Site,
    paths: tuple[str, ...],
    more: tuple[str, ...],
    metadata: tuple[str, ...],
    name: str | None,
) -> None:
    """Make a job of files that stay where they are: a part for each, with its "path".

    Prints the name of the job. A VALUE that is JSON is taken as such.
    """
    config = site.config()
    if config.job is None:
        raise UsageError(f"{config.file}: has no [job], so nothing can be submitted")
    name = name or f"submitted-{time.strftime('%Y%m%dT%H%M%S')}-{os.urandom(3).hex()}.jsonl"
    if Rules(config.job.match).ignored_by(name) or name.lower().endswith(".csv") or "/" in name:
        raise UsageError(f"{name}: must match [job] match, be no .csv, and no path")
    chosen = [os.path.abspath(path) for path in (*paths, *more)]  # noqa: PTH100 - resolves no link
    missing = [path for path in chosen if not Path(path).is_file()]
    if missing or not chosen:
        raise UsageError(f"{missing[0]}: is no file" if missing else "name at least one file")
    told = dict(map(_pair, metadata))
    lines: list[Record] = [records.about(told)]
    lines += [{"path": path} | ({config.job.id: path} if config.job.id else {}) for path in chosen]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    folder = durable.open_folder(site.paths.inbox)
    try:
        durable.drop(folder, name, (content,))
    finally:
        os.close(folder)
    click.echo(name)


def told(answers: list[Answer], *, as_json: bool) -> int:
    """Print answers; return the exit status."""
    for answer in answers:
        if as_json:
            show_json(answer.document())
        else:
            for line in answer.lines or (f"not answered yet, the daemon is {answer.waits}",):
                click.echo(escape(line))
    return 0 if all(answer.ok for answer in answers) else 1


def _pair(text: str) -> tuple[str, JSON]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UsageError(f"{text}: --meta wants KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _row(job: JobView, now: float) -> tuple[str, ...]:
    doc = job.document(now)
    left = listing.span(doc["seconds_left"]) if doc["seconds_left"] is not None else ""
    rate = f"{doc['rate']:.0f}/s" if doc["rate"] else ""
    counts = ("?" if doc[each] is None else str(doc[each]) for each in ("parts", "done", "failed"))
    return (job.id, escape(job.name), job.state, *counts, str(doc["running"]), rate, left)


def _plain(value: object) -> str:
    if value is None or value == "":
        return ""
    return escape(value) if isinstance(value, str) else json.dumps(value)


def _words(error: Record) -> str:
    return escape(f"{error['kind'].removeprefix('builtins.')}: {error['text']}")
