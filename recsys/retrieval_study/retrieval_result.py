"""The table of retrieval: figures of each fit, and their means and standard deviations over seeds."""

from __future__ import annotations

import msgspec
import numpy as np

from recsys.evaluation.result_file import ResultFile, markdown_table

SLICES = ("all", "head", "tail", "cold")
FIGURES = {"recall10": "Recall@10", "recall50": "Recall@50", "map10": "MAP@10"}
FURTHER = {
    "ndcg10": "NDCG@10",
    "mrr10": "MRR@10",
    "r_precision": "R-precision",
    "clicks": "clicks",
    "coverage": "coverage@50",
    "gini": "Gini@50",
    "novelty": "novelty@50, bits",
}
"""Of all items; rows that were made before there were these have none."""
_COLUMNS = [("all", "recall10"), ("all", "recall50"), ("all", "map10"), *((one, "recall50") for one in SLICES[1:])]


class RetrievalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A fit on a `part` of the likes: by slice of items and name, its figures in a `period`, test or validation."""

    method: str
    part: str
    seed: int
    period: str
    setting: str
    figures: dict[str, dict[str, float]]


class RetrievalResult(ResultFile, frozen=True):
    """Rows in the order in which they were made."""

    made_by = "recsys reproduce retrieval"
    settings: dict[str, str | float]
    rows: tuple[RetrievalRow, ...] = ()

    def table(self) -> list[list[str]]:
        """A line for each part and method in the test period, with the number of seeds that are there."""
        heads = [FIGURES[name] + ("" if one == "all" else f", {one}") for one, name in _COLUMNS]
        lines = [["method", "likes", "seeds", *heads]]
        rows = [row for row in self.rows if row.period == "test"]
        parts = list(dict.fromkeys(row.part for row in rows))
        pairs = dict.fromkeys((row.part, row.method) for row in rows)
        for part, method in sorted(pairs, key=lambda pair: parts.index(pair[0])):
            found = [row.figures for row in rows if (row.part, row.method) == (part, method)]
            cells = (_cell([one[which][name] for one in found]) for which, name in _COLUMNS)
            lines.append([method, part, str(len(found)), *cells])
        return lines

    def markdown(self) -> str:
        return markdown_table(self.table(), words=2)

    def further_markdown(self) -> str:
        return markdown_table(self.further(), words=2)

    def further(self) -> list[list[str]]:
        """As `table`, of the rows that have the figures in `FURTHER`."""
        rows = [row for row in self.rows if row.period == "test" and FURTHER.keys() <= row.figures["all"].keys()]
        lines = [["method", "likes", "seeds", *FURTHER.values()]]
        for method, part in dict.fromkeys((row.method, row.part) for row in rows):
            found = [row.figures["all"] for row in rows if (row.method, row.part) == (method, part)]
            lines.append([method, part, str(len(found)), *(_cell([one[name] for one in found]) for name in FURTHER)])
        return lines


def _cell(values: list[float]) -> str:
    spread = f" ± {np.std(values):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"
