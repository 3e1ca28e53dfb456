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


def test_an_option_that_was_not_given_is_no_moment():
    assert when.option(None, NOW) is None


def test_what_is_no_moment_is_a_mistake_of_usage():
    with pytest.raises(UsageError, match="write it as"):
        when.option("soon", NOW)
