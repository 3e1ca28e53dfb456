"""Describe every setting once: for the reader of the file, the manual and ``resumed init``.

`resumed.config` accepts exactly the keys listed here, each as the *kind* says. A default is
written as it would stand in the file, and a test holds it against `resumed.settings`.
"""

import textwrap
from typing import NamedTuple


class Setting(NamedTuple):
    """One key, with its table before a dot; *default* is empty where there is none."""

    key: str
    kind: str
    default: str
    sentence: str
    example: str = ""

    @property
    def table(self) -> str:
        """Name the table that the setting belongs into, empty at the top of the file."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Name the setting as it stands in its table."""
        return self.key.rpartition(".")[2]


TABLES = {
    "retry": "Failures that may pass, and when to try again.",
    "log": "What is written to standard error, or to the system's journal.",
    "paths": "Where everything lives; relative paths start at this file.",
    "job": "Files of records: each record is a part with attempts of its own.",
    "expect": "What is normal here; its absence raises an alarm.",
}


REFERENCE: tuple[Setting, ...] = (
    Setting(
        "handler",
        "function",
        "",
        "The Python function that does the work of an item.",
        '"example:process"',
    ),
    Setting(
        "command",
        "placed command",
        "",
        "The program that does it instead; {path} {name} {id} {key} {attempt} {workdir} {out} "
        "are filled in, and no shell is involved.",
        '["convert", "{path}", "{workdir}/small.png"]',
    ),
    Setting(
        "steps", "steps", "", "Or several of either, run in order and each recorded once done."
    ),
    Setting("workers", "number from 1", "1", "How many items are worked on at the same time."),
    Setting("timeout", "duration or none", '"none"', "How long one attempt may take.", '"10min"'),
    Setting(
        "recycle", "number", "10000", "After how many items a worker is replaced; 0 for never."
    ),
    Setting(
        "ahead",
        "auto or number",
        '"auto"',
        "How many further items a worker is handed while it still works on one.",
    ),
    Setting(
        "version",
        "text",
        '""',
        "Your handler's version; when it changes, recorded steps are forgotten.",
    ),
    Setting(
        "max_crashes",
        "number from 1",
        "3",
        "After how many crashes in a row, of the worker or the machine, an item is set aside.",
    ),
    Setting("match", "patterns", '["*"]', "Only files with such a name are items."),
    Setting(
        "ignore",
        "ignored patterns",
        "[]",
        'Never items, beside a shipped list of temporary names; "!*.bak" takes one out of it.',
        '["*.draft", "!*.bak"]',
    ),
    Setting(
        "marker", "marker", "", "A file is ready only once this one lies beside it.", '"{name}.ok"'
    ),
    Setting(
        "recursive",
        "switch",
        "false",
        "Whether files in subfolders of the inbox are items; the name of one is a path, as sub/a.",
    ),
    Setting(
        "settle",
        "duration",
        '"1s"',
        "How long a file must stay unchanged; 0 trusts that no program has it open for writing.",
    ),
    Setting(
        "rescan",
        "duration from 0.1s",
        '"1min"',
        "How often the inbox is read even if nothing seems to happen.",
    ),
    Setting("on_done", "archive or delete", '"archive"', "What becomes of a file that was done."),
    Setting(
        "sync_input",
        "switch",
        "true",
        "Whether a file is made durable when it is claimed; off is faster and loses that.",
    ),
    Setting("reserve", "size", '"64M"', "Intake pauses when less space than this is left."),
    Setting(
        "require", "paths", "[]", "Intake pauses while one of these is missing.", '["/mnt/archive"]'
    ),
    Setting(
        "probe",
        "command",
        "",
        "Intake pauses while this program fails.",
        '["ping", "-c1", "storage"]',
    ),
    Setting(
        "stop_timeout",
        "duration",
        '"5min"',
        "How long running attempts may go on when the daemon is asked to stop.",
    ),
    Setting(
        "on_failure",
        "command on failure",
        "",
        "Run when an item has failed for good, with {name} {error} {path} {id} {step} {attempt}.",
        '["mail-the-team", "{name}", "{error}"]',
    ),
    Setting(
        "on_alarm",
        "command on alarm",
        "",
        "Run when an alarm is raised, see [expect], with {why}.",
        '["mail-the-team", "{why}"]',
    ),
    Setting(
        "retry.max_attempts",
        "number from 1",
        "5",
        "After how many failed attempts an item fails for good.",
    ),
    Setting(
        "retry.initial", "duration", '"10s"', "The first wait; each further one is twice as long."
    ),
    Setting("retry.max", "duration", '"1h"', "The longest wait, before jitter."),
    Setting(
        "retry.jitter",
        "duration",
        '"5s"',
        "Up to this much is added to each wait at random, so that not all come at once.",
    ),
    Setting(
        "retry.retry_on",
        "exceptions",
        "[]",
        "Exceptions that may pass, beside those of the network; named with their module.",
        '["mymodule.Busy", "LookupError"]',
    ),
    Setting(
        "retry.exit_codes",
        "exit codes",
        "{ transient = [], permanent = [] }",
        "What a command's exit means: by itself 100 and 64 to 78 except 75 are permanent, "
        "all others transient.",
        "{ transient = [69], permanent = [3] }",
    ),
    Setting("log.level", "debug or info or warning or error", '"info"', "The least that is told."),
    Setting(
        "log.format",
        "auto or json or text",
        '"auto"',
        "Readable on a terminal, native in the system's journal, else JSON lines.",
    ),
    Setting("paths.spool", "path", '"/var/spool/resumed"', "The folders of the items."),
    Setting("paths.state", "path", '"/var/lib/resumed"', "The journal and what belongs to it."),
    Setting("paths.inbox", "path", "", "The watched folder, if not SPOOL/inbox.", '"/srv/upload"'),
    Setting(
        "job.match", "patterns", "[]", "Files with such a name are jobs.", '["*.jsonl", "*.csv"]'
    ),
    Setting(
        "job.id",
        "text",
        "",
        "The field that tells one part from another; without it, the whole record does.",
        '"order"',
    ),
    Setting(
        "job.reduce",
        "function or command",
        "",
        "Run once when all parts are done.",
        '"example:total"',
    ),
    Setting(
        "job.fail_job_on",
        "exceptions",
        "[]",
        "Exceptions of a part that fail the whole job; the rest is skipped.",
        '["example.WrongFile"]',
    ),
    Setting("job.results", "switch", "false", "Whether done/NAME.results.jsonl is written."),
    Setting(
        "job.tolerate",
        "tolerance",
        "0",
        "How many parts may fail without keeping the job open: a number or a percentage.",
        '"2%"',
    ),
    Setting("expect.every", "duration", "", "An alarm when no item came for so long.", '"1d"'),
    Setting("expect.oldest_pending", "duration", "", "An alarm when an item waits longer.", '"2h"'),
    Setting(
        "expect.growing_failures",
        "number from 1",
        "",
        "An alarm when so many items failed within an hour.",
        "10",
    ),
)

_STEPS = """
#[[steps]]
#name = "search"
#handler = "example:search"

#[[steps]]
#name = "watermark"
#command = ["convert", "{path}", "{workdir}/marked.png"]"""


def template(handler: str) -> str:
    """Write a ``resumed.toml`` that shows every setting and sets only *handler*.

    Lines that start with "# " explain; the others that start with "#" are settings, at
    their default or, where there is none, at an example.
    """
    lines = ["# Configuration of resumed. Take the # away from a setting to change it."]
    lines += _section("", handler)
    for table, sentence in TABLES.items():
        lines += ["", "", *_comment(sentence), f"[{table}]", *_section(table, handler)]
    return "\n".join(lines) + "\n"


def _section(table: str, handler: str) -> list[str]:
    lines = []
    # the steps are tables themselves, so that they follow all that stands at the top
    for setting in sorted(REFERENCE, key=lambda setting: setting.kind == "steps"):
        if setting.table == table:
            lines += ["", *_comment(setting.sentence), _shown(setting, handler)]
    return lines


def _shown(setting: Setting, handler: str) -> str:
    if setting.key == "handler":
        return f'handler = "{handler}"'
    if setting.kind == "steps":
        return _STEPS.removeprefix("\n")
    return f"#{setting.name} = {setting.default or setting.example}"


def _comment(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, 86, initial_indent="# ", subsequent_indent="# ")
