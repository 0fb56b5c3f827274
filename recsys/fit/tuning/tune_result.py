"""What a search for settings comes to, as plain data: the same bytes for the same result."""

from __future__ import annotations

from typing import Any

import msgspec

from recsys.evaluation.result_file import ResultFile
from recsys.fit.fit_result import Figures


class TrialResult(msgspec.Struct, frozen=True):
    """One trial."""

    settings: dict[str, Any]
    epochs: int
    """Until the fit ended; its best one counts."""
    figure: float | None
    """Of the validation part; None if it is not defined, as when all labels are equal."""
    validation: dict[str, Figures]
    """By task."""
    test: dict[str, Figures]
    """By task; no decision depends on it."""


class TuneResult(ResultFile, frozen=True):
    """All trials of each model, in their order, and the number of its best one."""

    made_by = "recsys tune"
    metric: str
    rows: dict[str, int]
    trials: dict[str, list[TrialResult]]
    best: dict[str, int]
    config: dict[str, Any]
