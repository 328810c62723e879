from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agents import retry_after


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0", 1), ("-1", 1), ("12.4", 12), ("3600", 60), ("9" * 5000, 60), ("", None), (None, None),
     ("soon", None), ("nan", None)],
)  # fmt: skip
def test_seconds_are_read_whatever_a_provider_writes(header, seconds):
    assert retry_after.seconds(header) == seconds


def test_a_date_is_read_as_the_time_until_then():
    in_half_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 <= retry_after.seconds(in_half_a_minute) <= 30
    assert retry_after.seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 1
