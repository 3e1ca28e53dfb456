"""Submit a job of files that stay where they are: `submit`.

With ``--json`` it prints ``{"name": "submitted-20261122T120000-1f0c9b.jsonl", "parts": 3}``.
"""

import json
import os
import time
from pathlib import Path

import click

from resumed import dropping, durable, records, view
from resumed.errors import UsageError
from resumed.model import JSON, Record
from resumed.rules import Rules
from resumed.site import Site, json_option, pass_site, show_json
from resumed.text import escape
from resumed.view import RefusedError


@click.command("submit")
@click.option("--each", "paths", multiple=True, metavar="PATH", help="A file for a part; repeat.")
@click.argument("more", nargs=-1, metavar="[PATH...]", type=click.Path())
@click.option("--meta", "metadata", multiple=True, metavar="KEY=VALUE", help="Told to the reduce.")
@click.option("--name", default=None, help="The job's name; must match [job] match.")
@json_option
@pass_site
def submit_command(  # noqa: PLR0913 - one for each option
    site: Site,
    paths: tuple[str, ...],
    more: tuple[str, ...],
    metadata: tuple[str, ...],
    name: str | None,
    *,
    as_json: bool,
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
    rules = Rules(config.match, config.ignore, config.marker)
    if rule := rules.ignored_by(name):
        raise UsageError(f"{name}: would be ignored because of {rule}; say --name, or mend that")
    chosen = [os.path.abspath(path) for path in (*paths, *more)]  # noqa: PTH100 - resolves no link
    missing = [path for path in chosen if not Path(path).is_file()]
    if missing or not chosen:
        raise UsageError(f"{missing[0]}: is no file" if missing else "name at least one file")
    told = dict(map(_pair, metadata))
    lines: list[Record] = [records.about(told)]
    lines += [{"path": path} | ({config.job.id: path} if config.job.id else {}) for path in chosen]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    _drop(site.paths.inbox, name, content, rules)
    if as_json:
        show_json({"name": name, "parts": len(chosen)})
    else:
        click.echo(escape(name))


def _drop(inbox: Path, name: str, content: bytes, rules: Rules) -> None:
    folder = dropping.opened(inbox)
    try:
        durable.drop(folder, name, (content,))
        dropping.mark(folder, name, rules)
    except FileExistsError as error:
        why = "a file of that name is in the inbox; wait for it, or say --name NAME"
        raise RefusedError(f"{escape(name)}: {why}") from error
    except PermissionError as error:
        raise view.closed(inbox) from error
    except OSError as error:
        raise RefusedError(f"{escape(name)}: {error.strerror}; nothing was submitted") from error
    finally:
        os.close(folder)


def _pair(text: str) -> tuple[str, JSON]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UsageError(f"{text}: --meta wants KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
