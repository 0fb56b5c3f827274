"""Columns with the time of day, beside a column of days."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import time
from typing import Final

from recsys.errors import InvalidValueError
from recsys.proposal.columns.column import Column
from recsys.proposal.columns.vocabulary import tokens
from streaming.ingest.mapping.time_of_day import time_of_day_reader

_NAMES: Final = frozenset("hour hours hr hod time clock minute minutes hourmin hm hms hhmm hhmmss daytime tod".split())  # noqa: SIM905
_HOURS: Final = frozenset(("hour", "hours", "hr", "hod"))
_FORMATS: Final = {"%H%M": 100, "%H%M%S": 10_000}
"""Formats without separators, and the least number that one of the values is, if it is not in a shorter one."""
_MONTH_DAY: Final = re.compile(r"(0?[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_TRIED: Final = 500


def clock_format(column: Column) -> str | None:
    """The `time_of_day_format` of a column of times of day, empty for none; None for any other column.

    >>> clock_format(Column("at", ["13:45", "7:05"])), clock_format(Column("order_hour_of_day", [0, 13, 23]))
    ('', '')
    >>> clock_format(Column("TRANS_TIME", ["1631", "905"])), clock_format(Column("duration", [905, 1631]))
    ('%H%M', None)
    """
    values = column.values[:_TRIED]
    if len(column.distinct) < 2:
        return None
    if all(isinstance(value, time) or (isinstance(value, str) and ":" in value) for value in values):
        return "" if _reads(values, "") else None
    words = set(tokens(column.name))
    if column.type != "integer" or not words & _NAMES or min(column.numbers) < 0:
        return None
    if month_days(column):
        return None
    most = max(column.numbers)
    if most < 24:
        return "" if words & _HOURS else None
    return next((one for one, least in _FORMATS.items() if most >= least and _reads(values, one)), None)


def month_days(column: Column) -> bool:
    """Whether all values are months with days, such as 829 and 1111."""
    return column.type == "integer" and all(len(text) <= 4 and _MONTH_DAY.fullmatch(text) for text in column.distinct)


def _reads(values: Sequence[object], pattern: str) -> bool:
    read = time_of_day_reader(pattern)
    try:
        for value in values:
            read(str(value) if pattern else value)
    except InvalidValueError:
        return False
    return True
