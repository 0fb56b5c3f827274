"""The table of next clicks: what each method found by the hour, and its mean over hours and seeds."""

from __future__ import annotations

import msgspec
import numpy as np
from matplotlib.axes import Axes

from recsys.evaluation.result_file import ResultFile, markdown_table
from recsys.evaluation.svg import svg


class Hour(msgspec.Struct, frozen=True, array_like=True):
    """Of an hour from `time` (ms): clicks that were asked for and hits; the same of articles younger than an hour."""

    time: int
    clicks: int
    hits: int
    young: int
    young_hits: int


class NextClickRow(msgspec.Struct, frozen=True, kw_only=True):
    """A method that went through a `period`, test or validation."""

    method: str
    seed: int
    period: str
    setting: str
    hours: tuple[Hour, ...]

    @property
    def recall(self) -> float:
        """Recall@20, the mean over hours."""
        return float(np.mean([hour.hits / hour.clicks for hour in self.hours]))

    @property
    def recall_of_clicks(self) -> float:
        """Recall@20 over all clicks alike."""
        return sum(hour.hits for hour in self.hours) / sum(hour.clicks for hour in self.hours)

    @property
    def recall_of_young(self) -> float:
        """Recall@20 over the clicks on articles that were younger than an hour; NaN without any."""
        young = sum(hour.young for hour in self.hours)
        return sum(hour.young_hits for hour in self.hours) / young if young else float("nan")


class NextClickResult(ResultFile, frozen=True):
    """Rows in the order in which they were made."""

    made_by = "recsys reproduce next-click"
    settings: dict[str, str | int]
    periods: dict[str, dict[str, int]]
    rows: tuple[NextClickRow, ...] = ()

    def table(self) -> list[list[str]]:
        """A line for each method in the test period."""
        lines = [["method", "seeds", "Recall@20, mean of hours", "of clicks", "of articles younger than an hour"]]
        for method, rows in self._tested().items():
            figures = ("recall", "recall_of_clicks", "recall_of_young")
            lines.append([method, str(len(rows)), *(_cell([getattr(row, name) for row in rows]) for name in figures)])
        return lines

    def markdown(self) -> str:
        return markdown_table(self.table(), words=1)

    def plot(self) -> str:
        """Recall@20 by the hour, the mean over seeds, as SVG."""
        return svg(self._draw, (8.0, 3.6))

    def _draw(self, axes: Axes) -> None:
        for method, rows in self._tested().items():
            recalls_RH = [[hour.hits / hour.clicks for hour in row.hours] for row in rows]
            axes.plot(np.mean(recalls_RH, axis=0), label=method, linewidth=1.5)
        axes.set(xlabel="hours from the start", ylabel="Recall@20")
        axes.legend(ncols=2)

    def _tested(self) -> dict[str, list[NextClickRow]]:
        rows = [row for row in self.rows if row.period == "test"]
        return {name: [row for row in rows if row.method == name] for name in dict.fromkeys(row.method for row in rows)}


def _cell(values: list[float]) -> str:
    spread = f" ± {np.std(values):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"
