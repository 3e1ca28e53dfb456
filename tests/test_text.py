import ast
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumed import text

any_text = st.text(st.characters(codec=None, exclude_categories=()))


def test_ordinary_names_stay_as_they_are():
    for name in ("invoice-612.pdf", "a b.txt", "日本 語.png", "café", "Ωmega", "\u3000", "🦀"):
        assert text.escape(name) == name


@pytest.mark.parametrize(
    ("outside", "written"),
    [
        ("a\nSTOPPING=1", r"a\nSTOPPING=1"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("exe\u202etxt", r"exe\u202etxt"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("a\u2028b", r"a\u2028b"),
        ("bad\udcff", r"bad\udcff"),
        ("\\n", r"\\n"),
        ("\x7f\x00\t", r"\x7f\x00\t"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_acts_or_hides_is_escaped(outside, written):
    assert text.escape(outside) == written


@given(any_text)
def test_escaped_text_is_one_harmless_line_of_utf_8(outside):
    escaped = text.escape(outside)

    assert len(escaped.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in escaped} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    escaped.encode("utf-8")


@given(any_text)
def test_an_escape_can_be_undone_so_no_two_names_look_the_same(outside):
    quoted = '"' + text.escape(outside).replace('"', r"\"") + '"'

    assert ast.literal_eval(quoted) == outside


def test_shortened_text_ends_in_an_ellipsis_and_is_never_longer_than_asked():
    assert text.shorten("abcdef", 6) == "abcdef"
    assert text.shorten("abcdefg", 6) == "abcde…"


def test_a_tail_keeps_line_ends_and_escapes_the_rest():
    assert text.tail(b"one\r\ntwo\x1b[0m\nthree\xff", 100) == "one\ntwo\\x1b[0m\nthree\ufffd"


def test_a_tail_never_starts_inside_a_character():
    output = "日本".encode()

    assert text.tail(output, 5) == "本"
    assert text.tail(output, 6) == "日本"
    assert text.tail(output, 2) == ""
    assert text.tail(output, 0) == ""


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"),
        (-3, "0s"),
        (0.0004, "0s"),
        (0.25, "250ms"),
        (0.9996, "1s"),
        (1.5, "1.5s"),
        (9.96, "10s"),
        (59.9, "1min"),
        (80, "1min 20s"),
        (300, "5min"),
        (3600, "1h"),
        (3601, "1h"),
        (90061, "1d 1h"),
        (86400 * 400, "400d"),
        (math.inf, "infinity"),
    ],
)
def test_durations_are_written_in_two_units(seconds, written):
    assert text.duration(seconds) == written


@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        ("5min 20s", 320.0),
        ("5min20s", 320.0),
        ("250ms", 0.25),
        (" 1d ", 86400.0),
        ("1.5h", 5400.0),
        ("90", 90.0),
        ("5min 20", 320.0),
        ("1M", 2629800.0),
        ("1m", 60.0),
        (2, 2.0),
        (0.5, 0.5),
        ("infinity", math.inf),
    ],
)
def test_durations_are_read_as_systemd_reads_them(span, seconds):
    assert text.parse_duration(span) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "span", ["", " ", "soon", "5 parsecs", "-1s", "1s,", -1, math.nan, True, None]
)
def test_what_is_no_duration_is_refused_with_an_example(span):
    with pytest.raises(ValueError, match="5min 20s"):
        text.parse_duration(span)


@given(st.integers(1, 10**7))
def test_a_written_duration_reads_as_nearly_the_same(seconds):
    assert text.parse_duration(text.duration(seconds)) == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize(
    ("written", "n_bytes"),
    [("64M", 64 << 20), ("1.5 GiB", 3 << 29), ("2KB", 2048), ("100", 100), ("7B", 7), (4096, 4096)],
)
def test_sizes_are_read_with_a_k_of_1024(written, n_bytes):
    assert text.parse_size(written) == n_bytes


@pytest.mark.parametrize("written", ["", "M", "64X", "-1", -1, True, 1.5, None, "9" * 400])
def test_what_is_no_size_is_refused_with_an_example(written):
    with pytest.raises(ValueError, match="64M"):
        text.parse_size(written)


@pytest.mark.parametrize(
    ("n_bytes", "written"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (1024 * 1024 - 1, "1 MiB"),
        (64 << 20, "64 MiB"),
        (5 << 50, "5120 TiB"),
    ],
)
def test_sizes_are_written_in_the_largest_unit_that_fits(n_bytes, written):
    assert text.size(n_bytes) == written


# The planes in which characters have a meaning; the others take seconds, and have none.
PLANES = [
    plane if plane in (0, 1, 14) else pytest.param(plane, marks=pytest.mark.slow)
    for plane in range(17)
]


@pytest.mark.parametrize("plane", PLANES)
def test_no_character_of_all_unicode_gets_through_that_acts_or_hides(plane):
    harmful = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    characters = list(map(chr, range(plane << 16, (plane + 1) << 16)))

    passed = set(text.escape("".join(characters)))

    assert not {each for each in passed if unicodedata.category(each) in harmful}
    assert passed >= {each for each in characters if each.isalpha()}
