"""Look at jobs: `jobs ls|info|pending|failures|wait`; and give one up: `cancel`.

Everything but `cancel` only reads. With ``--json`` each job is one object a
line, as `resumed.jobview` describes it, and each failure is one as well. With ``--backend``
the jobs are those of `resumed.jobs` in Redis or DynamoDB (`resumed.progress.places` has the
form of the URL), and no instance is needed.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from resumed import completing, elsewhere, jobview, listing, records, roll, tables, view
from resumed.asking import Answer, ask
from resumed.elsewhere import Elsewhere, ElsewhereJob
from resumed.errors import EXIT_LEFT_OVER
from resumed.jobview import JobView
from resumed.model import Record
from resumed.paths import Paths
from resumed.site import Site, advise, json_option, pass_site, show, show_json
from resumed.text import escape
from resumed.view import RefusedError

_PAUSE_SECONDS = 0.2
_backend = click.option(
    "--backend",
    metavar="URL",
    envvar="RESUMED_BACKEND",
    help="Jobs kept elsewhere: redis://HOST[:PORT][/DATABASE] or dynamodb://REGION/TABLE.",
)
_job = click.argument("job", metavar="JOB", shell_complete=completing.names())


@click.group("jobs")
def jobs_command() -> None:
    """Look at jobs: files of records, each record a part with attempts of its own."""


@jobs_command.command("ls")
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@click.option("--ids", is_flag=True, help="Print ids only.")
@_backend
@json_option
@pass_site
def ls_command(
    site: Site, backend: str | None, *, everything: bool, ids: bool, as_json: bool
) -> None:
    """List the jobs that are open or failed."""
    now = time.time()
    rows: list[tuple[str, ...]] = [
        ("JOB", "NAME", "STATE", "PARTS", "DONE", "FAILED", "RUNNING", "RATE", "LEFT")
    ]
    with _source(site, backend) as source:
        for each in source.jobs(over=everything):
            if ids:
                click.echo(escape(each.id))
            elif as_json:
                show_json(each.document(now))
            else:
                rows.append(_row(each, now))
    if len(rows) > 1:
        show(rows)


@jobs_command.command("info")
@_job
@_backend
@json_option
@pass_site
def info_command(site: Site, job: str, backend: str | None, *, as_json: bool) -> None:
    """Tell all about a job but its parts."""
    with _source(site, backend) as source:
        told = source.find(job).document(time.time())
    if as_json:
        show_json(told)
        return
    show([row for row in _rows(told) if row[1]])


@jobs_command.command("failures")
@_job
@_backend
@json_option
@pass_site
def failures_command(site: Site, job: str, backend: str | None, *, as_json: bool) -> None:
    """List the parts that failed, or wait for another attempt, and why; 0 also for none."""
    with _source(site, backend) as source:
        found = source.find(job)
        failures = list(found.failures())
    for each in failures:
        if as_json:
            show_json(each)
            continue
        error = each["error"]
        click.echo(f"{escape(each['part'])}  {each['state']}  {_words(error)}")
    if not as_json and failures and backend is None:
        click.echo(f"again: '{site.command} retry {found.id}', or with another file '--with FILE'")
    if not failures:
        advise(f"no part of {escape(found.name)} failed")


@jobs_command.command("pending")
@_job
@_backend
@json_option
@pass_site
def pending_command(site: Site, job: str, backend: str | None, *, as_json: bool) -> None:
    """List the ids of the parts that are not done and did not fail.

    Without --backend this reads the job's file.
    """
    with _source(site, backend) as source:
        found = source.find(job)
        ids = _pending(site, found) if isinstance(found, JobView) else found.pending()
        for each in ids:
            show_json({"part": each}) if as_json else click.echo(escape(each))


def _pending(site: Site, found: JobView) -> Iterator[str]:
    if found.state == "done":
        return
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
    except records.UnusableError as error:
        raise RefusedError(f"{path}: nothing of it can be read: {error}") from None
    known, told = found.ledger.roll, set[int]()
    with closing(lines):
        for each in lines:
            # The second record with an id is the same part, or none.
            if isinstance(each, records.Part) and each.mark not in told:
                told.add(each.mark)
                number = known.find(each.mark)
                if number is None or known.states[number] in (roll.PENDING, roll.WAITING):
                    yield each.id


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
@_backend
@pass_site
def wait_command(site: Site, job: str, seconds: float | None, backend: str | None) -> int:
    """Wait until a job is over: 0 when it is done, 1 when it failed.

    On a terminal a bar shows how far it is.
    """
    until = None if seconds is None else time.monotonic() + seconds
    found = None
    with _source(site, backend) as source, _bar() as show_bar:
        while found is None or found.state not in ("done", "failed"):
            if found is not None:
                if until is not None and time.monotonic() >= until:
                    return EXIT_LEFT_OVER
                time.sleep(_PAUSE_SECONDS)
            found = _await(source, job, until)
            told = found.document(time.time())
            ended = told["done"] + told["failed"]
            show_bar(told["done"], told["failed"], max(0, (told["parts"] or 0) - ended))
    click.echo(f"{escape(found.name)}: {found.state}")
    return 0 if found.state == "done" else 1


def _await(source: "_Here | Elsewhere", job: str, until: float | None) -> JobView | ElsewhereJob:
    """Look a job up, which may not be there before *until*."""
    while True:
        try:
            return source.find(job)
        except RefusedError:
            if until is None or time.monotonic() >= until:
                raise
        time.sleep(_PAUSE_SECONDS)


@contextmanager
def _bar() -> Iterator[Callable[[int, int, int], None]]:
    """Draw on a terminal only, so that nobody else loads what draws."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from resumed import terminal  # noqa: PLC0415 - for people only

    with terminal.progress_bar(terminal.standard_error()) as show_bar:
        yield show_bar


class _Here:
    """The jobs of the instance."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def jobs(self, *, over: bool) -> Iterator[JobView]:
        return jobview.jobs(self._paths, over=over)

    def find(self, name: str) -> JobView:
        return jobview.find(self._paths, name)


@contextmanager
def _source(site: Site, backend: str | None) -> Iterator[_Here | Elsewhere]:
    """Say where jobs are looked for."""
    if backend is None:
        yield _Here(site.paths)
    else:
        with elsewhere.opened(backend) as source:
            if sys.stdout.isatty() and (caution := source.caution()):
                advise(caution)
            yield source


@click.command("cancel")
@_job
@json_option
@pass_site
def cancel_command(site: Site, job: str, *, as_json: bool) -> int:
    """Give an open job up: what runs ends, the rest is skipped, its file goes to failed/."""
    found = jobview.find(site.paths, job)
    return told(ask(site.paths, "cancel", [found.id]), as_json=as_json)


def told(answers: list[Answer], *, as_json: bool) -> int:
    """Print answers; return the exit status."""
    for answer in answers:
        if as_json:
            show_json(answer.document())
        else:
            for line in answer.lines or (f"not answered yet, the daemon is {answer.waits}",):
                click.echo(escape(line))
    return 0 if all(answer.ok for answer in answers) else 1


def _row(job: JobView | ElsewhereJob, now: float) -> tuple[str, ...]:
    doc = job.document(now)
    left = listing.span(doc["seconds_left"]) if doc["seconds_left"] is not None else ""
    rate = f"{doc['rate']:.0f}/s" if doc["rate"] else ""
    counts = ("?" if doc[each] is None else str(doc[each]) for each in ("parts", "done", "failed"))
    return (escape(job.id), escape(job.name), job.state, *counts, str(doc["running"]), rate, left)


def _rows(told: Record) -> Iterator[tuple[str, str]]:
    """Put into words what `info` tells of a job; what there is nothing of is empty."""
    for name, value in told.items():
        match name:
            case "reduce":
                yield name, _reduce_words(value)
                yield "result", "" if value["result"] is None else json.dumps(value["result"])
            case "error":
                # The lines of the text stay lines: some say what to do.
                first, *others = value["text"].split("\n") if value else [""]
                yield name, _words({**value, "text": first}) if value else ""
                yield from (("", escape(each)) for each in others)
            case "rate":
                yield name, f"{value:.0f}/s" if value else ""
            case "seconds_left":
                yield "left", "" if value is None else listing.span(value)
            case _:
                yield name.replace("_", " "), "" if value is None else escape(str(value))


def _reduce_words(reduce: Record) -> str:
    attempts = f", attempt {reduce['attempts']}" if reduce["attempts"] else ""
    error = f": {_words(reduce['error'])}" if reduce["error"] else ""
    return "" if reduce["state"] == "none" else f"{reduce['state']}{attempts}{error}"


def _words(error: Record) -> str:
    return escape(f"{error['kind'].removeprefix('builtins.')}: {error['text']}")
