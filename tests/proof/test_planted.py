"""Hold the planted bugs to the program as it is; that each is found, `make proof` tells."""

import ast
import importlib
import importlib.util
import inspect
import textwrap
from pathlib import Path

import pytest

PLACE = Path(__file__).with_name("planted.py")


def loaded():
    spec = importlib.util.spec_from_file_location("planted_bugs", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


planted = loaded()


def imported(tree):
    """Return what a plant imports from the package, by the names it has there."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("resumed"):
            source = importlib.import_module(node.module)
            for each in node.names:
                if not hasattr(source, each.name):
                    importlib.import_module(f"{node.module}.{each.name}")
                known[each.asname or each.name] = getattr(source, each.name)
    return known


def touched(plant):
    """Yield (owner, name, is it set?) of each attribute that a plant speaks of."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(plant)))
    known = imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        names, root = [], node.value
        while isinstance(root, ast.Attribute):
            names, root = [root.attr, *names], root.value
        if isinstance(root, ast.Name) and root.id in known:
            owner = known[root.id]
            for name in names:
                owner = getattr(owner, name)
            yield owner, node.attr, isinstance(node.ctx, ast.Store)


def takes_the_place_of(new, old):
    """Raise a TypeError when *new* cannot be called in every way in which *old* can be."""
    every = inspect.signature(old).parameters.values()
    own = [each for each in every if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    for these in (own, [each for each in own if each.default is each.empty]):
        by_name = {each.name: None for each in these if each.kind is each.KEYWORD_ONLY}
        inspect.signature(new).bind(*[None] * (len(these) - len(by_name)), **by_name)


@pytest.mark.parametrize("bug", planted.BUGS)
def test_a_plant_fits_the_program(bug, monkeypatch):
    speaks_of = list(touched(planted.BUGS[bug]))
    sets = [(owner, name) for owner, name, stored in speaks_of if stored]
    before = [getattr(owner, name) for owner, name, _ in speaks_of]  # it exists
    for owner, name in sets:
        monkeypatch.setattr(owner, name, getattr(owner, name))  # so that it is undone

    planted.BUGS[bug]()

    changed = 0
    for (owner, name, _), old in zip(speaks_of, before, strict=True):
        new = getattr(owner, name)
        changed += new is not old
        if callable(old):
            takes_the_place_of(new, old)
    assert changed, "changes nothing"


def test_the_check_knows_a_plant_that_does_not_fit():
    def program(self, moved, *, together): ...

    for stale in (lambda *_: None, lambda _self, **_: None, lambda _self, _moved, _more, **_: None):
        with pytest.raises(TypeError):
            takes_the_place_of(stale, program)
    takes_the_place_of(lambda _self, _moved, **_: None, program)


def test_the_sweep_to_ask_first_is_asked_for_a_bug_that_there_is():
    assert planted.FOUND_BY.keys() <= planted.BUGS.keys()
