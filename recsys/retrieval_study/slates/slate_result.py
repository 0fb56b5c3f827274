"""The table of slates: relevance beside variety and exposure, with means and standard deviations over seeds."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from recsys.evaluation.result_file import ResultFile, markdown_table
from recsys.evaluation.svg import MUTED, svg

RERANKED, MERGED = "reranked", "merged"
ORDERS = {"0.5": 0.5, "1": 1.0, "2": 2.0, "inf": math.inf}
"""Of the effective number of items that all lists together show, by the name of its figure."""
_HEADS = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "vendi": "Vendi score of a list",
    **{f"exposed {order}": f"items exposed, q = {order}" for order in ORDERS},
    "least": "least share met",
}
_COLUMNS = {
    RERANKED: ["ndcg", "recall", "vendi", *(f"exposed {order}" for order in ORDERS)],
    MERGED: ["recall", "ndcg", "least", "exposed 1"],
}
_COLOURS = {"Vendi": "#1b6ca8", "MMR": "#c2571a", "DPP": "#3d8b5f", "none": "#1f2933"}


class SlateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A way to make lists: by name the figures of each seed. `case` is the price of variety or the biased source."""

    table: str
    method: str
    case: str
    figures: dict[str, list[float]]


class SlateResult(ResultFile, frozen=True):
    """Rows in the order in which they were made."""

    made_by = "recsys reproduce slates"
    seeds: int
    settings: dict[str, float | int]
    rows: tuple[SlateRow, ...] = ()

    def table(self, name: str) -> list[list[str]]:
        """One of the two tables, with its head."""
        columns, rows = _COLUMNS[name], [row for row in self.rows if row.table == name]
        case = "weight" if name == RERANKED else "biased source"
        lines = [[row.method, row.case, *(_cell(row.figures[one]) for one in columns)] for row in rows]
        return [["lists", case, *(_HEADS[one] for one in columns)], *lines]

    def markdown(self, name: str) -> str:
        return markdown_table(self.table(name), words=2)

    def plot(self) -> str:
        """NDCG over the Vendi score of re-ranked lists, a line for each method, as SVG."""
        return svg(self._draw, (7.0, 4.0))

    def _draw(self, axes: Any) -> None:
        rows = [row for row in self.rows if row.table == RERANKED]
        plain = [row for row in rows if row.method == "none"]
        for method in dict.fromkeys(row.method for row in rows):
            own = plain * (method != "none") + [row for row in rows if row.method == method]
            x, y = ([row.figures[name] for row in own] for name in ("vendi", "ndcg"))
            mean_x, mean_y, spread = np.mean(x, 1), np.mean(y, 1), np.std(y, 1)
            line = "" if method == "none" else "-"
            axes.errorbar(
                mean_x, mean_y, spread, label=method, color=_COLOURS[method], marker="o", markersize=4, linestyle=line
            )
            if method != "none":
                for row, at_x, at_y in zip(own[1:], mean_x[1:], mean_y[1:], strict=True):
                    axes.annotate(row.case, (at_x, at_y), (4, 4), textcoords="offset points", color=MUTED, fontsize=8)
        axes.set(xlabel="Vendi score of genres, mean of lists", ylabel="NDCG by what users liked later")
        axes.legend()


def _cell(values: list[float]) -> str:
    mean, spread = float(np.mean(values)), float(np.std(values))
    digits = 4 if mean < 2 else 2 if mean < 20 else 0
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"
