import time

import pytest

from resumed import when
from resumed.errors import UsageError

NOW = 1763820000.0


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2h", NOW - 7200),
        ("1d 1h", NOW - 90000),
        ("2025-11-22T12:00:00Z", 1763812800.0),
        ("2025-11-22T13:00:00+01:00", 1763812800.0),
    ],
)
def test_moments_are_read_as_people_write_them(written, at):
    assert when.parse(written, NOW) == at


def test_local_dates_and_days_begin_at_midnight():
    today = time.mktime((*time.localtime(NOW)[:3], 0, 0, 0, 0, 0, -1))
    date = time.strftime("%Y-%m-%d", time.localtime(NOW))

    assert when.parse("today", NOW) == when.parse(date, NOW) == today
    assert 82_000 < today - when.parse("yesterday", NOW) < 91_000


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("day", ["today", "yesterday"])
def test_a_day_begins_at_midnight_also_where_the_clocks_are_changed_later_on_it(
    monkeypatch, zone, day
):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for changed in (25, 26) if zone == "Europe/Berlin" else (1, 2):
            month = 10 if zone == "Europe/Berlin" else 11
            noon = time.mktime((2026, month, changed, 12, 0, 0, 0, 0, -1))

            begun = time.localtime(when.parse(day, noon))

            assert (begun.tm_hour, begun.tm_min, begun.tm_sec) == (0, 0, 0)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("written", ["infinity", "9999y", "1000-01-01", "0002-01-01T00:00:00Z"])
def test_what_was_before_all_calendars_of_computers_is_their_beginning(written):
    assert when.parse(written, NOW) == 0


@pytest.mark.parametrize("written", ["0001-01-01T00:00+14:00", "9999-12-31T23:00-12:00"])
def test_a_moment_that_no_calendar_has_is_a_mistake(written):
    with pytest.raises(ValueError, match="is no moment; write it as"):
        when.parse(written, NOW)


def test_an_option_that_was_not_given_is_no_moment():
    assert when.option(None, NOW) is None


def test_what_is_no_moment_is_a_mistake_of_usage():
    with pytest.raises(UsageError, match="write it as"):
        when.option("soon", NOW)
