"""What a search found, as plain data: the same bytes for the same result."""

from __future__ import annotations

from typing import Any

import msgspec

from recsys.evaluation.result_file import ResultFile
from recsys.fit.fit_result import Figures


class SizedModel(msgspec.Struct, frozen=True):
    """One model of a size."""

    method: str
    share: float
    """The size that was asked for, as a share of all embedding values."""
    values: int
    """Embedding values that are not pruned."""
    test: dict[str, Figures]
    """By task, on the test part."""
    dims: dict[str, int] | None = None
    """By table, where all rows of a table are alike."""


class DnisResult(ResultFile, frozen=True):
    """The curve of accuracy against size, with its controls, and the factors that were found."""

    made_by = "recsys search dnis"
    ids: dict[str, int]
    """By table, in the training part."""
    values: int
    """Embedding values of the whole model."""
    alpha: list[list[float]]
    """By frequency block, the most frequent ids first, and coordinate."""
    whole: dict[str, Figures]
    """The model after its warm start, on the test part."""
    points: list[SizedModel]
    config: dict[str, Any]
