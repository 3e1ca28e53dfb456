import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumed import listing
from resumed.listing import fold, width

AT = 1763812800.0


def test_columns_line_up_by_what_a_terminal_shows():
    rows = [("a", "写真", "x"), ("bb", "e\u0301t\u0301", "y"), ("c",)]

    assert list(listing.columns(rows, indent="> ")) == [
        "> a   写真  x",
        "> bb  e\u0301t\u0301    y",
        "> c",
    ]


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [("abcdef", 6, "abcdef"), ("abcdef", 4, "abc…"), ("写真写真", 4, "写…")],
)
def test_what_is_too_wide_is_cut_with_an_ellipsis(text, width, cut):
    assert listing.cut(text, width) == cut


def test_a_document_is_one_line_of_ascii():
    assert listing.document({"name": "写\udcff\n"}) == '{"name":"\\u5199\\udcff\\n"}'


def test_a_time_of_today_needs_no_date():
    assert listing.clock(AT, AT) == time.strftime("%H:%M:%S", time.localtime(AT))
    assert listing.clock(AT - 90_000, AT) == listing.moment(AT - 90_000)


@pytest.mark.parametrize(
    ("seconds", "written"), [(-5, "0s ago"), (61.2, "1min 1s ago"), (0.2, "0s ago")]
)
def test_ages_are_whole_seconds(seconds, written):
    assert listing.ago(AT - seconds, AT) == written


@pytest.mark.parametrize(("count", "written"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_a_count_agrees_with_its_noun(count, written):
    assert listing.plural(count, "file") == written


@given(st.text("ab 写\x20", max_size=60), st.integers(10, 30))
def test_a_folded_line_loses_no_word(line, columns):
    pieces = list(fold(line, columns))

    assert [word for piece in pieces for word in piece.split()] == line.split()
    longest = max((width(word) for word in line.split()), default=0)
    assert all(width(piece) <= max(columns, 4 + longest) for piece in pieces)


def test_a_line_that_fits_is_not_changed():
    assert list(fold("a   b  ·  c", 11)) == ["a   b  ·  c"]
