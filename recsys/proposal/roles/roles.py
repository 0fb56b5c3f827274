"""The columns of a file by their role, as guessed or as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from recsys.errors import InvalidValueError
from recsys.proposal.columns.clock_columns import clock_format
from recsys.proposal.columns.column import Column, is_number
from recsys.proposal.columns.time_columns import TimeReading
from recsys.proposal.columns.vocabulary import TRUTHS, Role
from streaming.ingest.mapping.event_time import Unit
from streaming.ingest.mapping.time_of_day import time_of_day_reader

IDENTIFIERS: Final[tuple[Role, ...]] = ("user", "item", "request")


@dataclass(frozen=True)
class Said:
    """What the user says about columns; empty where nothing is."""

    columns: Mapping[str, str] = field(default_factory=dict)
    time_unit: Unit | None = None
    time_format: str = ""
    positive: Sequence[str] = ()
    """Values that mean yes in the column of the label."""
    start: str = ""
    """When the first row happened: the rows are in the order of time."""
    origin: str = ""
    """What numbers of times count from; of days without a year, from when on (ISO 8601)."""
    reason: str = "you say so"


@dataclass(frozen=True)
class Guess:
    """A column in a role, and why in words."""

    column: Column
    reason: str
    yes: Sequence[str] = ()
    """Of a label: the values that mean yes; empty where numbers above 0 do."""

    @property
    def name(self) -> str:
        return self.column.name

    def means_yes(self, word: str) -> bool:
        """Whether a value of a label says that it happened."""
        return word in self.yes if self.yes else word.lower() in TRUTHS or (is_number(word) and float(word) > 0)

    @property
    def positive(self) -> list[bool]:
        """Of a label: whether it happened, by row."""
        return [not self.column.is_missing(cell) and self.means_yes(str(cell)) for cell in self.column.cells]


@dataclass(frozen=True)
class Roles:
    """The columns of one file by what they are."""

    found: Mapping[str, Sequence[Guess]]
    """By role; several columns of one role are alternatives, or of `label` the actions that there are."""
    reading: TimeReading | None
    others: Sequence[Column]
    """Columns without a role."""

    def column(self, role: str) -> Column | None:
        """The first column of a role."""
        return self.found[role][0].column if role in self.found else None

    def times(self, rows: int) -> list[int]:
        """Of those of the first rows that have one, ms, with the time of day."""
        day, clock = self.column("time"), self.column("time_of_day")
        if self.reading is None or day is None:
            return []
        read = time_of_day_reader(clock_format(clock) or "") if clock is not None else None
        found = []
        for n, cell in enumerate(day.cells[:rows]):
            with suppress(InvalidValueError, OverflowError):
                found.append(self.reading.reader(cell) + (read(clock.cells[n]) if read and clock else 0))
        return found

    def names(self, role: str) -> list[str]:
        return [guess.name for guess in self.found.get(role, ())]

    def __contains__(self, role: str) -> bool:
        return role in self.found
