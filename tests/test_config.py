import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumed import config, toml
from resumed.config import Command, JobSettings, LogSettings, PythonHandler, Step, Tolerance
from resumed.errors import ConfigError
from resumed.kinds import KINDS
from resumed.settings import PLACEHOLDERS, Config, Paths

NO_SHELL = "must be a list of texts, since no shell is involved"


@pytest.fixture
def load(tmp_path):
    def load(content, **more):
        file = tmp_path / "resumed.toml"
        file.write_text(content, encoding="utf-8")
        return config.load(file, **more)

    return load


@pytest.fixture
def mistakes(load):
    def mistakes(content):
        with pytest.raises(ConfigError) as refused:
            load(content)
        return [(mistake.line, mistake.text) for mistake in refused.value.mistakes]

    return mistakes


def test_one_line_is_a_configuration(load, tmp_path):
    sound = load('handler = "photos.small:process"')

    assert sound == Config(
        file=tmp_path / "resumed.toml",
        folder=tmp_path,
        handler=PythonHandler("photos.small", "process"),
        paths=Paths.below(Path("/var/spool/resumed"), Path("/var/lib/resumed")),
    )
    assert sound.paths.inbox == Path("/var/spool/resumed/inbox")
    assert sound.paths.journal == Path("/var/lib/resumed/journal.jsonl")


def test_a_home_holds_everything(tmp_path):
    (tmp_path / "resumed.toml").write_text('command = ["true"]')

    sound = config.load(home=tmp_path)

    assert sound.file == tmp_path / "resumed.toml"
    assert sound.paths == Paths.below(tmp_path, tmp_path / "state")
    assert sound.paths.inbox == tmp_path / "inbox"
    assert sound.handler == Command(("true",))


def test_a_relative_file_is_made_absolute(tmp_path, monkeypatch):
    (tmp_path / "my.toml").write_text('command = ["true"]')
    monkeypatch.chdir(tmp_path)

    assert config.load(Path("my.toml")).folder == tmp_path


def test_without_a_file_the_system_s_own_is_read():
    with pytest.raises(ConfigError, match=r"^/etc/resumed/resumed\.toml: No such file"):
        config.load()


def test_every_setting_is_read(load, tmp_path):
    sound = load(
        """
        command = ["convert", "{path}"]
        workers = 3
        timeout = "10min"
        ahead = 0
        settle = 0
        version = "2"
        marker = "{name}.ok"
        reserve = "1G"
        require = ["/mnt/x", "y"]
        probe = ["true"]
        [retry]
        max_attempts = 7
        initial = "1s"
        exit_codes = { transient = [3], permanent = [75] }
        retry_on = ["mymodule.Busy", "LookupError"]
        [log]
        level = "debug"
        [paths]
        spool = "spool"
        state = "/s/../state"
        [job]
        match = ["*.csv"]
        reduce = ["total"]
        tolerate = "2%"
        [expect]
        every = "1d"
        """
    )

    assert sound.workers == 3
    assert sound.timeout_seconds == 600
    assert sound.ahead == 0
    assert sound.settle_seconds == 0
    assert sound.version == "2"
    assert sound.marker == "{name}.ok"
    assert sound.reserve_bytes == 1 << 30
    assert sound.require == (Path("/mnt/x"), tmp_path / "y")
    assert sound.probe == Command(("true",))
    assert sound.retry.max_attempts == 7
    assert sound.retry.initial_seconds == 1
    assert sound.retry.transient_exits == {3}
    assert sound.retry.permanent_exits == {75}
    assert sound.retry.retry_on == ("mymodule.Busy", "LookupError")
    assert sound.log == LogSettings(level="debug")
    assert sound.paths == Paths.below(tmp_path / "spool", Path("/state"))
    assert sound.job == JobSettings(
        match=("*.csv",), reduce=Command(("total",)), tolerate=Tolerance(share=0.02)
    )
    assert sound.expect.every_seconds == 86400


def test_steps_keep_their_order(load):
    sound = load(
        """
        [[steps]]
        name = "search"
        handler = "photos:search"
        [[steps]]
        name = "watermark"
        command = ["mark", "{path}"]
        """
    )

    assert sound.handler == (
        Step("search", PythonHandler("photos", "search")),
        Step("watermark", Command(("mark", "{path}"))),
    )


def test_all_mistakes_are_told_at_once_each_with_its_line(mistakes):
    assert mistakes(
        '''handler = "no colon"
command = "convert {path}"
worker = 2
timeout = "soon"
version = """
settle = 1
"""
ignore = [
  "a/b",  # rescan = 0
]
rescan = 0

[retry]
max_attempts = 0
timeout = "1s"
exit_codes = { transient = [3], permanent = [3] }

[[log]]
level = "loud"
'''
    ) == [
        (1, 'handler must be "module:function"'),
        (2, f"command {NO_SHELL}, such as ['convert', '{{path}}']"),
        (2, "command beside handler: keep one of them"),
        (3, "unknown key 'worker'; did you mean 'workers'?"),
        (4, 'timeout = \'soon\' is not a duration; write one as "5min 20s", "250ms" or "1d"'),
        (8, "ignore is compared with file names, which hold no '/': 'a/b'"),
        (11, 'rescan must be at least "100ms"'),
        (14, "retry.max_attempts must be at least 1"),
        (
            15,
            "unknown key 'retry.timeout'; 'timeout' belongs to the top, above the first [table]",
        ),
        (16, "retry.exit_codes has 3 as transient and as permanent"),
        (18, "log is a table: write [log] on a line of its own"),
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('handel = "a:b"', "unknown key 'handel'; did you mean 'handler'?"),
        ('max_attempts = "x"', "unknown key 'max_attempts'; 'max_attempts' belongs into [retry]"),
        ("zzz = 1", "unknown key 'zzz'"),
        ("[retri]", "unknown key 'retri'; did you mean 'retry'?"),
        ("retry = 5", "retry is a table: write [retry] on a line of its own"),
        ("workers = true", "workers must be a whole number"),
        ("workers = 0", "workers must be at least 1"),
        ("recycle = -1", "recycle must be a whole number, 0 or more"),
        ("workers = -1", "workers must be at least 1"),
        ("timeout = true", "timeout = True is not a duration"),
        ('recursive = "yes"', "recursive must be true or false"),
        ("version = 3", "version must be text in quotes"),
        ('match = "*.pdf"', 'match must be a list of texts, such as ["a", "b"]'),
        ('match = [""]', 'match must be a list of texts, such as ["a", "b"]'),
        ('ignore = ["!*.tpm"]', 'did you mean "!*.tmp"?'),
        ('ignore = ["!zzzzz"]', "takes out what the shipped list does not have: '!zzzzz'"),
        ('marker = "ok"', 'marker must be a file name with {name} in it, such as "{name}.ok"'),
        ('marker = "{name}"', "marker must be a file name"),
        ('on_done = "keep"', 'on_done must be "archive" or "delete"'),
        ('settle = "infinity"', "settle must end some time"),
        ('retry = {initial = "9999y", max = "1h"}', 'retry.initial must be at most "1000y"'),
        ('timeout = "0"', 'timeout must be at least "100ms"'),
        ('reserve = "lots"', "reserve = 'lots' is not a size"),
        ('ahead = "some"', 'ahead must be a whole number, 0 or more, or "auto"'),
        ('require = [""]', "require must be a list of texts"),
        ("on_failure = []", "on_failure must be a list of texts"),
        ("on_failure = 'mail {name}'", "such as ['mail', '{name}']"),
        ('paths = {spool = "~/x"}', "paths.spool must be written out: a daemon has no ~"),
        ('paths = {spool = ""}', "paths.spool must be a path"),
        ('paths = {spool = "/s", inbox = "/s/done/x"}', "paths.inbox lies in /s/done"),
        ('paths = {spool = "/s", inbox = "/s"}', "paths.inbox holds /s/active, which it feeds"),
        ('recursive = true\npaths = {spool = "/s", inbox = "/"}', "paths.inbox holds /s/active"),
        ('retry = {initial = "2h"}', "retry.max is shorter than retry.initial"),
        ('retry = {max = "1s"}', "retry.max is shorter than retry.initial"),
        ('retry = {retry_on = ["Busy"]}', "retry.retry_on needs the module before 'Busy'"),
        ('retry = {retry_on = ["a b"]}', "retry.retry_on has 'a b', which names no exception"),
        ("retry = {exit_codes = {transient = [0]}}", "must list exit statuses from 1 to 255"),
        ("retry = {exit_codes = {done = [1]}}", "retry.exit_codes must be { transient"),
        ("job = {tolerate = 1.5}", "job.tolerate must be a number of parts or a percentage"),
        ('job = {tolerate = "200%"}', "job.tolerate = '200%' is more than all parts"),
        ("job = {results = true}", "job.match is missing"),
        ('on_failure = ["m", "{nme}"]', "on_failure has {nme}; did you mean {name}?"),
        ('on_failure = ["m", "{why}"]', "on_failure has {why}, which is nothing here; there are"),
        (
            'on_alarm = ["m", "{name}"]',
            "on_alarm has {name}, which is nothing here; there are {why}",
        ),
        ('on_alarm = ["m", "{whi}"]', "on_alarm has {whi}, which is nothing here; there are {why}"),
        ('job = {match=["*.x"], reduce = ["m", "{nme}"]}', "job.reduce has {nme}; did you mean"),
        ('log = {level = "loud"}', 'log.level must be "debug", "info", "warning" or "error"'),
    ],
)
def test_a_mistake_says_what_to_write(mistakes, line, fault):
    (first, *more) = mistakes(f'\n{line}\n[[steps]]\nname = "a"\ncommand = ["true"]')

    assert more == []
    assert first[0] in (2, 3)
    assert fault in first[1]


def test_nothing_to_run_is_a_mistake(mistakes):
    assert mistakes("workers = 2") == [
        (0, 'says nothing to run: set handler = "module:function", or command')
    ]


def test_a_misspelt_placeholder_is_a_mistake_and_a_foreign_brace_is_not(mistakes, load):
    assert mistakes('command = ["cp", "{pth}"]') == [(1, "command has {pth}; did you mean {path}?")]
    assert load("command = ['awk', '{print}', '{path}']").handler == Command(
        ("awk", "{print}", "{path}")
    )


def test_mistakes_in_steps_are_found_in_their_step(mistakes):
    assert mistakes(
        """[[steps]]
name = "one"
command = ["true"]
[[steps]]
name = "one"
comand = ["true"]
handler = "a:b"
[[steps]]
command = ["true"]
handler = "a:b"
shell = true
[[steps]]
name = "a\\nb"
handler = "a"
"""
    ) == [
        (5, "a second step named 'one'"),
        (6, "unknown key 'comand' in a step; did you mean command?"),
        (8, "a step needs a name"),
        (8, "a step needs either handler or command"),
        (11, "unknown key 'shell' in a step"),
        (13, "name must be printable text of at most 100 characters"),
        (14, 'handler must be "module:function"'),
    ]
    assert mistakes("steps = []") == [(1, "steps are tables: write [[steps]] above each")]
    assert mistakes("steps = [1]") == [(1, "steps are tables: write [[steps]] above each")]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'handler = "a:b"\nworkers =\n', 2),
        (b"a = 1\na = 2\n", 2),
        (b"a = [1,\n2", 2),
        (b"\n\nname = '\xff'\n", 3),
    ],
)
def test_a_file_that_is_no_toml_is_refused_at_the_line(tmp_path, content, line):
    file = tmp_path / "c.toml"
    file.write_bytes(content)

    with pytest.raises(ConfigError) as refused:
        config.load(file)

    assert [mistake.line for mistake in refused.value.mistakes] == [line]
    assert str(refused.value).startswith(f"{file}:{line}: is not ")


def test_windows_line_ends_do_no_harm(tmp_path):
    file = tmp_path / "c.toml"
    file.write_bytes(b'handler = "a:b"\r\nworkers = 2\r\n')

    assert config.load(file).workers == 2


def test_a_key_is_found_on_its_line_however_it_is_written(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(
        '''# a = 0
a = "# no [comment"
"b.c" = [ # [
  "]", """
d = 0
""",
]
e . 'f' = {g = 1}
[h] # x
i = 2
[[j]]
k = 3
[[j]]
k = 4
'''
    )
    document = toml.read(file)

    lines = {
        key: document.mistake(key, "").line
        for key in [
            ("a",),
            ("b.c",),
            ("d",),
            ("e", "f", "g"),
            ("h",),
            ("h", "i"),
            ("j", 0, "k"),
            ("j", 1),
            ("j", 1, "k"),
        ]
    }

    assert list(lines.values()) == [2, 3, 0, 8, 9, 10, 12, 13, 14]


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_whatever_escape_as_another_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(content)

    with pytest.raises(ConfigError):
        config.load(file)


def test_the_template_is_sound_as_it_is(load):
    sound = load(config.template("example:process"))

    assert sound == load('handler = "example:process"')


def test_the_reference_tells_the_defaults_that_are_in_force(load):
    template = config.template("example:process")
    defaults = {s.name for s in config.REFERENCE if s.default}

    uncommented = re.sub(
        r"^#(\w+) = ", lambda m: m[0][m[1] in defaults :], template, flags=re.MULTILINE
    )

    assert "\nworkers = 1\n" in uncommented
    assert load(uncommented) == load('handler = "example:process"')


def test_every_example_of_the_reference_is_sound(load):
    for setting in config.REFERENCE:
        key = f"[{setting.table}]\n{setting.name}" if setting.table else setting.name
        also = "" if setting.table != "job" or setting.name == "match" else 'match = ["*.csv"]\n'
        if setting.example:
            handler = "" if setting.key in ("handler", "command") else 'handler = "a:b"\n'
            load(handler + f"{key} = {setting.example}\n{also}")


def test_the_steps_of_the_template_are_sound(load):
    template = config.template("example:process").replace("\nhandler =", "\n#handler =")
    before, steps = template.split("#[[steps]]", 1)
    steps, after = steps.split("\n\n\n", 1)

    sound = load(before + "[[steps]]" + steps.replace("\n#", "\n") + "\n\n" + after)

    assert [step.name for step in sound.handler] == ["search", "watermark"]


def test_each_setting_has_a_kind_and_a_field():
    fields = {f.name for f in dataclasses.fields(Config)}

    for setting in config.REFERENCE:
        assert setting.kind == "steps" or setting.kind in KINDS
        assert setting.sentence.endswith(".")
        if not setting.table and setting.key not in ("handler", "command", "steps"):
            assert fields & {setting.name, f"{setting.name}_seconds", f"{setting.name}_bytes"}


def test_placeholders_are_filled_once_and_unknown_braces_stay():
    command = Command(("cp", "{path}", "--name={name}", "{print}", "{}"))

    assert command.filled({"path": "/x/{name}", "name": "{id}", "id": "7"}) == [
        "cp",
        "/x/{name}",
        "--name={id}",
        "{print}",
        "{}",
    ]
    assert "path" in PLACEHOLDERS


def test_a_tolerance_is_a_number_or_a_share(load):
    some = load('handler = "a:b"\n[job]\nmatch = ["*.csv"]\ntolerate = 2').job.tolerate

    assert some.allows(2, 2)
    assert not some.allows(3, 1000)
    assert Tolerance(share=0.02).allows(2, 100)
    assert not Tolerance(share=0.02).allows(3, 100)
