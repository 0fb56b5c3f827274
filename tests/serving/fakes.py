"""Small stand-ins and builders for serving's tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from embedding.store import Delta, TableDelta
from serving.artefact import Artefact
from serving.rows import Floats, Ids
from streaming.features import FeatureSpec, Field

SPEC = FeatureSpec.of([Field("user", "categorical", "user"), Field("item", "categorical", "item")])
DIM = 4


class SumScorer:
    """Scores an item by a squashed sum of its rows and the request's, so that a test can tell which rows were read."""

    def score(self, request_rows: Floats, item_rows: Floats, request_numeric: Floats, item_numeric: Floats) -> Floats:
        total_C = item_rows.sum((1, 2)) + request_rows.sum() + item_numeric.sum(1) + request_numeric.sum()
        return np.asarray(1 / (1 + np.exp(-total_C)), np.float32)


@dataclass
class Graphs:
    """Opens graphs: `sum` gives a SumScorer, `broken` one that fails, anything else is refused."""

    opened: list[bytes] = field(default_factory=list)

    def __call__(self, graph: bytes) -> SumScorer:
        self.opened.append(graph)
        if graph.startswith(b"sum"):
            return SumScorer()
        if graph.startswith(b"broken"):
            return BrokenScorer()
        raise ValueError(f"{graph!r} is no graph")


class BrokenScorer(SumScorer):
    def score(self, request_rows: Floats, item_rows: Floats, request_numeric: Floats, item_numeric: Floats) -> Floats:
        raise RuntimeError("the graph failed")


def artefact(step: int = 1, graph: bytes = b"sum", spec: FeatureSpec = SPEC, dim: int = DIM) -> Artefact:
    return Artefact(version=f"step-{step}", step=step, time=1_000 * step, dim=dim, graph=graph, spec=spec)


def ids(*values: int) -> Ids:
    return np.array(values, np.uint64)


def rows(*values: float, dim: int = DIM) -> Floats:
    """One row per value, filled with it."""
    return np.repeat(np.array(values, np.float32)[:, None], dim, axis=1)


def delta(
    sequence: int, changed: dict[int, float] | None = None, removed: Ids | None = None, *, full: bool = False
) -> Delta:
    """A delta of the table `item`."""
    changed = changed or {}
    table = TableDelta(ids(*changed), rows(*changed.values()), ids() if removed is None else removed)
    return Delta(sequence, full, {"item": table})
