"""Which column has the time of the events, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsys.errors import InvalidValueError
from recsys.proposal.columns.clock_columns import clock_format
from recsys.proposal.columns.column import Column
from recsys.proposal.columns.time_columns import ENOUGH, MOST, TimeReading, forms, time_reading
from recsys.proposal.columns.vocabulary import CLEARLY, NOT_EVENT, says, tokens
from recsys.proposal.roles.counted_time import counted_time
from recsys.proposal.roles.roles import IDENTIFIERS, Said


def find_time(columns: Sequence[Column], said: Said, path: Path, *, asked: bool) -> tuple[Column, TimeReading] | None:
    """The column whose values and name say most clearly that they are times; None if none does.

    Raises InvalidValueError if it can be read in two ways, or if the user (`asked`) or its name say that a column has
    the times and it is not in one form.
    """
    if found := counted_time(columns, said, path):
        return found
    readings = _readings(columns, said) or _readings(columns, said, by_value=True)
    if not readings:
        _no_time(columns, path, asked=asked, started=bool(said.start))
        return None
    best = max(readings, key=lambda one: readings[one][0])
    _, reading = readings[best]
    column = next(one for one in columns if one.name == best)
    if reading.ambiguous:
        raise InvalidValueError(
            f"{path}: the times in {best!r}, such as {column.texts[0]!r}, may be "
            f"{reading.format!r} or {reading.ambiguous!r}; say which with --time-format"
        )
    return column, reading


def time_of_day(columns: Sequence[Column], reading: TimeReading) -> Column | None:
    """The column of times of day beside one of days; None if there is none, or if the times are finer than days."""
    if reading.resolution:
        return None
    clocks = [one for one in columns if not one.missing and clock_format(one) is not None]
    return max(clocks, key=lambda one: len(one.distinct), default=None)


def _no_time(columns: Sequence[Column], path: Path, *, asked: bool, started: bool) -> None:
    """Raises InvalidValueError for a column that the user says, or its name, and that is not in one form."""
    for column in (
        columns
        if asked
        else [one for one in columns if says("time", one.name) >= CLEARLY and clock_format(one) is None]
    ):
        seen = ", ".join(f"{one.form} ({one.read} of {one.read + len(one.others)})" for one in forms(column.values))
        if seen:
            raise InvalidValueError(
                f"{path}: no form has more than half of the times in {column.name!r}: {seen}; write "
                "them in one form, or say with --time-unit or --time-format which to read: others are refused"
            )
        if asked or (column.type == "text" and not started):
            raise InvalidValueError(
                f"{path}: the values of {column.name!r}, such as {column.texts[0]!r}, are no times "
                'that are known; say how to read them with --time-unit or --time-format (such as "%d.%m.%Y %H:%M")'
            )


def _readings(columns: Sequence[Column], said: Said, by_value: bool = False) -> dict[str, tuple[float, TimeReading]]:
    """By column, how it is read and how much speaks for it."""
    found: dict[str, tuple[float, TimeReading]] = {}
    for column in columns:
        clear = says("time", column.name)
        named = any(says(role, column.name) for role in IDENTIFIERS)
        if column.type == "list" or not (clear or (by_value and not named)):
            continue
        told = said.time_unit or said.time_format
        least = (0.0 if told else MOST) if clear or len(columns) == 1 else ENOUGH
        reading = time_reading(column.values, said.time_unit, said.time_format, least)
        if reading is not None:
            other = bool(NOT_EVENT.intersection(tokens(column.name)))
            fine = reading.resolution / min(len(column.values), 200)
            days = not reading.resolution
            lacking = (column.missing + len(reading.others)) / len(column.cells)
            found[column.name] = (clear + 2 * fine - days - 2 * other - lacking, reading)
    return found
