"""In which unit or format a column has times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
    "%d %b %Y %H:%M:%S", "%b %d %Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%d-%b-%Y %H:%M", "%d %b %Y %H:%M",
    "%b %d, %Y %H:%M:%S", "%b %d, %Y %H:%M",
    "%d %B %Y %H:%M", "%B %d, %Y %H:%M", "%Y%m%d %H:%M:%S", "%Y%m%d%H%M%S", "%Y%m%d%H", "%y%m%d%H",
)  # fmt: skip
_TRIED: Final = 200
ENOUGH: Final = 0.95
"""Share of the values of a column that no name speaks for that have to be times in one form."""
MOST: Final = 0.5
"""The same of a column that is called a time: more than this share."""
_FORMS: Final[tuple[Unit, ...]] = ("iso", "s", "ms", "us", "ns")


@dataclass(frozen=True)
class TimeReading:
    """How the values of a column are read as times: the mapping's `time_unit` and `time_format`."""

    unit: Unit
    format: str = ""
    ambiguous: str = ""
    """Another format that reads as many of the values."""
    span: tuple[int, int] = (0, 0)
    """The oldest and newest of the values, ms."""
    resolution: int = 1
    """Number of different times among the values tried; 0 for days."""
    read: int = 0
    """Number of values tried that are such times."""
    others: Sequence[Any] = ()
    """Those that are none."""
    origin: int = 0
    """What numbers count from, ms."""

    @property
    def reader(self) -> Callable[[Any], int]:
        return millis_reader(self.unit, self.format, self.origin)

    @property
    def form(self) -> str:
        """Unit or format in a word."""
        form = self.format or {"iso": "ISO 8601"}.get(self.unit, self.unit)
        return f"{form} from the origin" if self.origin else form

    @property
    def doubt(self) -> str:
        """What is said of values in another form, which are refused; empty if there are none."""
        if not self.others:
            return ""
        tried, what = self.read + len(self.others), "is none" if len(self.others) == 1 else "are none"
        return f"{len(self.others)} of {tried} {what}, such as {str(self.others[0])[:40]!r}, and would be refused"


def time_reading(
    values: Sequence[Any], unit: Unit | None = None, pattern: str = "", least: float = ENOUGH
) -> TimeReading | None:
    """How values that are not missing are times of a log; None if they are not, in `unit` or `pattern` if given.

    It is the form of most of them, which has to be that of more than the share `least`; of equals the first.
    """
    tried = _tried(values)
    if unit or pattern:
        found = [_read(tried, unit or "ms", pattern, least, plausible=False)]
    elif all(isinstance(value, date | datetime) for value in tried):
        found = [_read(tried, "iso", "", least)]
    else:
        found = list(_readings(tried, least))
    return _best([one for one in found if one is not None])


def counted_reading(values: Sequence[Any], unit: Unit, pattern: str, origin: int) -> TimeReading | None:
    """How values are times that count from `origin` (ms) or, in a format without a year, follow on it."""
    return _read(_tried(values), unit, pattern, 0.0, plausible=False, origin=origin)


def forms(values: Sequence[Any]) -> list[TimeReading]:
    """The forms in which any of the values are times, the commonest first, without formats of text."""
    found = [one for unit in _FORMS if (one := _read(_tried(values), unit, "", 0.0)) is not None]
    return sorted(found, key=lambda one: -one.read)


def _tried(values: Sequence[Any]) -> Sequence[Any]:
    return [*values[: _TRIED // 2], *values[-(_TRIED // 2) :]] if len(values) > _TRIED else values


def _readings(tried: Sequence[Any], least: float) -> Iterator[TimeReading | None]:
    """In each unit, and in each format if no unit reads nearly all."""
    enough = False
    for unit in _FORMS:
        yield (one := _read(tried, unit, "", least))
        enough = enough or (one is not None and one.read >= ENOUGH * len(tried))
    if not enough and sum(isinstance(value, str) for value in tried) > least * len(tried):
        yield from (_read(tried, "ms", pattern, least) for pattern in _FORMATS)


def _best(found: Sequence[TimeReading]) -> TimeReading | None:
    if not found:
        return None
    best = max(found, key=lambda one: one.read)
    equals = [one for one in found if one.read == best.read and one.format]
    return replace(best, ambiguous=next((one.format for one in equals if one.span != best.span), ""))


def _exact(value: Any, pattern: str) -> bool:
    """Whether all digits of a format without separators are there: strptime takes fewer."""
    return "%d%H" not in pattern or len(str(value)) == len(datetime(2001, 2, 3).strftime(pattern))


def _read(
    values: Sequence[Any], unit: Unit, pattern: str, least: float, *, plausible: bool = True, origin: int = 0
) -> TimeReading | None:
    read = millis_reader(unit, pattern, origin)
    newest = (time.time() + 86_400) * 1000
    times: list[int] = []
    others: list[Any] = []
    for value in values:
        try:
            at = read(value)
            fits = not plausible or (PLAUSIBLE <= at <= newest and _exact(value, pattern))
        except (InvalidValueError, OverflowError):
            fits = False
        if fits:
            times.append(at)
        else:
            others.append(value)
        if len(others) >= (1 - least) * len(values):
            return None
    if not times:
        return None
    different = set(times)
    daily = all(at % 86_400_000 == 0 for at in different)
    resolution = 0 if daily else len(different)
    return TimeReading(unit, pattern, "", (min(times), max(times)), resolution, len(times), others, origin)
