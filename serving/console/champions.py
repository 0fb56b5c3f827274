"""Who promoted which model, or went back, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from serving.console.figures import FigureTable
from serving.console.readable import moment


class PromotionEntry(Protocol):
    """An entry of the record, as `serving.replication.promotions.Promotion` has it."""

    @property
    def version(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def at(self) -> int: ...
    @property
    def by(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def rolled_back(self) -> bool: ...
    @property
    def forced(self) -> Sequence[str]: ...
    @property
    def judged(self) -> Mapping[str, Any]: ...


def champions(promotions: Sequence[PromotionEntry]) -> FigureTable:
    rows = [
        (
            str(one.version),
            "went back" if one.rolled_back else "promoted",
            one.model,
            one.label,
            moment(one.at),
            one.by,
            one.why + (f" (in spite of: {'; '.join(one.forced)})" if one.forced else "") or "-",
            one.judged.get("verdict", "-"),
        )
        for one in promotions
    ]
    keys = ("promotion", "step_taken", "model", "version", "promoted_at", "promoted_by", "promoted_why", "judged")
    return FigureTable.of("Champions, the newest first", keys, rows)
