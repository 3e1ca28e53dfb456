import fnmatch

from hypothesis import given
from hypothesis import strategies as st

from resumed.rules import SHIPPED_IGNORE, Rules, patterns_in_force


def test_temporary_names_are_never_items():
    rules = Rules(["*"])

    for name in (
        *(".hidden", "a.part", "a.pdf.filepart", "b~", "~$report.docx", "Thumbs.db", "4913"),
        *(".pureftpd-upload.5f.15.1", ".goutputstream-X", "lost+found", "sub/.a.pdf", "x.tmp"),
    ):
        assert rules.temporary(name), name
        assert rules.ignored_by(name), name


def test_other_names_are_items():
    rules = Rules(["*"])

    for name in ("a.pdf", "tmp", "part.1", "a.tmpl", "A.PART", "日本.png", "bad\udcff", "s.d/a b"):
        assert not rules.temporary(name), name
        assert rules.ignored_by(name) is None, name


def test_the_rule_that_ignores_is_named():
    rules = Rules(["*.pdf", "*.png"], ["draft-*", "?x[0-9]"], "{name}.ok")

    assert rules.ignored_by("a.part") == 'ignore "*.part"'
    assert rules.ignored_by("draft-1.pdf") == 'ignore "draft-*"'
    assert rules.ignored_by("ax1") == 'ignore "?x[0-9]"'
    assert rules.ignored_by("a.pdf.ok") == 'marker = "{name}.ok"'
    assert rules.ignored_by("a.txt") == 'match = ["*.pdf", "*.png"]'
    assert rules.ignored_by("a.pdf") is None


def test_a_name_that_only_does_not_match_is_not_temporary():
    assert not Rules(["*.pdf"]).temporary("a.txt")


def test_an_exclamation_mark_takes_a_shipped_pattern_out():
    rules = Rules(["*"], ["!*.bak", "!.*"])

    assert rules.ignored_by("a.bak") is None
    assert rules.ignored_by(".profile") is None
    assert rules.ignored_by("a.tmp") == 'ignore "*.tmp"'
    assert patterns_in_force(["!*.bak", "x", "x"]) == (
        *(pattern for pattern in SHIPPED_IGNORE if pattern != "*.bak"),
        "x",
    )


def test_patterns_look_at_the_last_component_only():
    rules = Rules(["*.pdf"], ["in*"])

    assert rules.ignored_by("in/a.pdf") is None
    assert rules.ignored_by("a.pdf/in.pdf") == 'ignore "in*"'


def test_markers_lie_beside_their_file():
    rules = Rules(["*"], marker="{name}.ok")

    assert rules.marker_of("a.pdf") == "a.pdf.ok"
    assert rules.marker_of("sub/a.pdf") == "sub/a.pdf.ok"
    assert rules.is_marker("a.pdf.ok")
    assert rules.is_marker("sub/a.pdf.ok")
    assert not rules.is_marker("a.pdf")
    assert not rules.is_marker("sub/.ok")
    assert Rules(["*"], marker="go-{name}").is_marker("go-a")


def test_without_a_marker_nothing_is_one():
    rules = Rules(["*"])

    assert rules.marker_of("a.pdf") is None
    assert not rules.is_marker("a.pdf.ok")


globs = st.lists(st.text("ab.*?[]!", min_size=1, max_size=5), max_size=4)


@given(globs, st.text("ab.", min_size=1, max_size=5))
def test_fast_comparison_agrees_with_fnmatch(patterns, name):
    rules = Rules(patterns, [f"!{pattern}" for pattern in SHIPPED_IGNORE])

    expected = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    assert (rules.ignored_by(name) is None) == expected
