"""What a search by groups of rows found, as plain data: the same bytes for the same result."""

from __future__ import annotations

from typing import Any

import msgspec

from recsys.evaluation.result_file import ResultFile
from recsys.fit.fit_result import Figures


class RowGroup(msgspec.Struct, frozen=True):
    """The model of one group."""

    rows: dict[str, int]
    """Of each part."""
    dims: dict[str, int]
    """Coordinates that are kept, by field."""
    values: int
    """Embedding values, of the ids that its training rows have."""
    test: dict[str, Figures]
    """By task, on its own rows of the test part."""


class Contender(msgspec.Struct, frozen=True):
    """A model, or several that divide the rows among them."""

    method: str
    groups: list[RowGroup]
    values: int
    """Embedding values of all its models."""
    test: dict[str, Figures]
    """By task, on the whole test part."""
    calibrated: dict[str, Figures]
    """As `test`, after Platt scaling of each group's scores on its validation rows."""


class IhasResult(ResultFile, frozen=True):
    """The models by group, with their controls."""

    made_by = "recsys search ihas"
    open: float
    """Mean share of coordinates that the search keeps of a training row."""
    contenders: list[Contender]
    config: dict[str, Any]
