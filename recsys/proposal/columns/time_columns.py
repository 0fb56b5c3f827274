"""In which unit or format a column has times."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from recsys.errors import InvalidValueError
from streaming.ingest.mapping.event_time import PLAUSIBLE, Unit, millis_reader

_FORMATS: Final = (
    "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M %p", "%m/%d/%Y", "%d/%m/%Y",
    "%m-%d-%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S", "%m-%d-%Y %H:%M", "%d-%m-%Y %H:%M", "%m-%d-%Y", "%d-%m-%Y",
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d",
    "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%d %H:%M:%S.%f UTC", "%Y-%m-%d %H:%M:%S %z", "%Y.%m.%d %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S %z",
    "%b %d, %Y", "%B %d, %Y", "%m %d, %Y", "%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y %I:%M:%S %p",
    "%d %b %Y %H:%M:%S", "%b %d %Y %H:%M:%S", "%Y%m%d %H:%M:%S", "%Y%m%d%H%M%S", "%Y%m%d%H", "%y%m%d%H",
)  # fmt: skip
_TRIED: Final = 200
_ENOUGH: Final = 0.95


@dataclass(frozen=True)
class TimeReading:
    """How the values of a column are read as times: the mapping's `time_unit` and `time_format`."""

    unit: Unit
    format: str = ""
    ambiguous: str = ""
    """Another format that reads all values as well."""
    span: tuple[int, int] = (0, 0)
    """The oldest and newest of the values, ms."""
    resolution: int = 1
    """Number of different times among the values tried; 0 for days."""

    @property
    def reader(self) -> Callable[[Any], int]:
        return millis_reader(self.unit, self.format)


def time_reading(values: Sequence[Any], unit: Unit | None = None, pattern: str = "") -> TimeReading | None:
    """How values that are not missing are times of a log; None if they are not, in `unit` or `pattern` if given."""
    tried = [*values[: _TRIED // 2], *values[-(_TRIED // 2) :]] if len(values) > _TRIED else values
    if not tried:
        return None
    if unit or pattern:
        return _read(tried, unit or "ms", pattern, plausible=False)
    if all(isinstance(value, date | datetime) for value in tried):
        return _read(tried, "iso", "")
    readings = [one for unit in _units(tried) if (one := _read(tried, unit, "")) is not None]
    if readings:
        return readings[0]
    if not all(isinstance(value, str) for value in tried):
        return None
    found = [one for pattern in _FORMATS if (one := _read(tried, "ms", pattern)) is not None]
    if not found:
        return None
    other = next((one.format for one in found[1:] if one.span != found[0].span), "")
    first = found[0]
    return TimeReading(first.unit, first.format, other, first.span, first.resolution)


def _units(values: Sequence[Any]) -> tuple[Unit, ...]:
    digits = all(re.fullmatch(r"[+-]?\d+(\.\d*)?([eE]\+?\d+)?", str(value).strip()) for value in values[:20])
    compact = all(re.fullmatch(r"(19|20)\d{6}", str(value)) for value in values[:20])
    return ("iso",) if compact or not digits else ("s", "ms", "us", "ns")


def _exact(value: Any, pattern: str) -> bool:
    """Whether all digits of a format without separators are there: strptime takes fewer."""
    return "%d%H" not in pattern or len(str(value)) == len(datetime(2001, 2, 3).strftime(pattern))


def _read(values: Sequence[Any], unit: Unit, pattern: str, *, plausible: bool = True) -> TimeReading | None:
    read = millis_reader(unit, pattern)
    newest = (time.time() + 86_400) * 1000
    times: list[int] = []
    for n, value in enumerate(values):
        try:
            at = read(value)
            if not plausible or (PLAUSIBLE <= at <= newest and _exact(value, pattern)):
                times.append(at)
        except (InvalidValueError, OverflowError):
            pass
        if n + 1 - len(times) > (1 - _ENOUGH) * len(values):
            return None
    if not times:
        return None
    different = set(times)
    daily = all(at % 86_400_000 == 0 for at in different)
    return TimeReading(unit, pattern, "", (min(times), max(times)), 0 if daily else len(different))
