"""The curve of clicks against returns, by the weight of the return in the score."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np
from matplotlib.axes import Axes

from recsys.evaluation.result_file import ResultFile, markdown_table
from recsys.evaluation.svg import svg
from recsys.fit.studies.fit_study import spread


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Of lists whose first article is that with the greatest score."""

    by: str
    """What the score is."""
    clicks: float
    """Share of lists whose first article was clicked."""
    returns: float
    """Share of lists whose first article was clicked by a reader who came back on the next day."""


class ReturnsRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model of one seed."""

    seed: int
    lists: int
    points: tuple[CurvePoint, ...]


class ReturnsResult(ResultFile, frozen=True):
    """Rows in the order of seeds."""

    made_by: ClassVar[str] = "recsys reproduce returns"
    settings: str
    period: dict[str, str]
    rows: tuple[ReturnsRow, ...] = ()

    def table(self) -> list[list[str]]:
        """A line for each score: means and standard deviations over the seeds, as shares of all lists."""
        lines = [["score", "seeds", "clicked", "clicked, and back the next day"]]
        for by, points in self._by_score().items():
            figures = ([getattr(point, name) for point in points] for name in ("clicks", "returns"))
            lines.append([by, str(len(points)), *map(spread, figures)])
        return lines

    def markdown(self) -> str:
        return markdown_table(self.table(), words=1)

    def plot(self) -> str:
        """Clicks against returns, a point for each score, as SVG."""
        return svg(self._draw, (6.4, 3.8))

    def _draw(self, axes: Axes) -> None:
        means = {
            by: np.mean([(p.clicks, p.returns) for p in points], axis=0) for by, points in self._by_score().items()
        }
        curve = np.array(list(means.values()))
        axes.plot(curve[:, 0], curve[:, 1], "o-", linewidth=1.5)
        for by, (clicks, returns) in means.items():
            axes.annotate(by, (clicks, returns), xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.set(xlabel="lists whose first article was clicked", ylabel="... and its reader was back the next day")

    def _by_score(self) -> dict[str, list[CurvePoint]]:
        found: dict[str, list[CurvePoint]] = {}
        for row in self.rows:
            for point in row.points:
                found.setdefault(point.by, []).append(point)
        return found
