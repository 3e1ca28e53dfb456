import sys

import pytest

from resumed import program
from resumed.program import LoadError, Program


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module under a name that no other test has, importable from here."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"handler_{tmp_path.name}"

    def write(text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    sys.modules.pop(name, None)


def refusal(module, function="process"):
    with pytest.raises(LoadError) as caught:
        program.load(module, function)
    return str(caught.value)


def test_a_function_of_one_argument_is_a_handler(module):
    assert program.load(module("def process(item): return item"), "process")(3) == 3


@pytest.mark.parametrize(
    "source", ["process = str", "class process:\n def __init__(self, item, more=1): pass"]
)
def test_so_is_anything_that_can_be_called_like_one(module, source):
    assert callable(program.load(module(source), "process"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\nimport no_such_thing", ".py:2: ModuleNotFoundError: No module named"),
        ("def f():\n  1/0\nf()", ".py:2: ZeroDivisionError: division by zero"),
        ("def process(item:\n", ".py:1: SyntaxError: "),
        ("import sys\nsys.exit(3)", ".py:2: SystemExit: 3"),
        ("other = 1", "no function 'process' in it"),
        ("process = 1", "no function 'process' in it"),
        ("def process(): pass", "must take one argument: too many positional"),
        ("def process(a, b): pass", "must take one argument: missing a required"),
    ],
)
def test_a_refusal_says_where_and_why(module, source, words):
    assert words in refusal(module(source))


def test_a_module_without_a_file_is_named():
    assert refusal("sys") == "sys: no function 'process' in it"


def test_a_module_that_is_not_there_is_named():
    assert refusal("no_such_handler") == "ModuleNotFoundError: No module named 'no_such_handler'"


def test_a_function_in_c_without_a_signature_is_believed(module):
    assert program.load(module("process = dict.update"), "process")


def test_commands_need_no_import():
    run = Program([{"step": None, "argv": ["/no/such/program"]}])

    assert run.has_commands
