"""Small stand-ins and builders for serving's tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from embedding.store import Delta, TableDelta
from recsys.errors import ArtefactError
from serving.cache.row_store import Floats, Ids
from serving.model.artefact import RANKER, Artefact
from serving.model.checked_scorer import CheckedScorer
from serving.model.chunked_scorer import NO_HISTORY, Scorer
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.encode.scaling import RunningMoments

SPEC = FeatureSpec.of([Field("user", "categorical", "user"), Field("item", "categorical", "item")])
DIM = 4
TRIED = 2
FEW_EVENTS = 10_000
"""A window for duplicates that takes 1 MiB; that of a million events takes 64, and 40 ms of each server that starts."""


class SumScorer:
    """Scores an item by a squashed sum of its rows and the request's, so that a test can tell which rows were read."""

    engine = "sum"

    def score(
        self,
        request_rows_1FD: Floats,
        item_rows_CFD: Floats,
        request_numeric_1N: Floats,
        item_numeric_CN: Floats,
        history_rows_1LD: Floats = NO_HISTORY,
    ) -> Floats:
        self.begin(len(item_rows_CFD))
        total_C = item_rows_CFD.sum((1, 2)) + request_rows_1FD.sum() + item_numeric_CN.sum(1) + request_numeric_1N.sum()
        return self.squashed(total_C)[:, None]

    def begin(self, candidates: int) -> None:
        """So many are to be scored."""

    def squashed(self, total_C: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-total_C)), np.float32)


@dataclass
class Graphs:
    """Opens graphs: `sum` is a SumScorer, `broken` fails after its trial, `nan` has no figures, `coarse` is checked;
    others are refused.
    """

    opened: list[bytes] = field(default_factory=list)

    def __call__(self, graph: bytes) -> Scorer:
        self.opened.append(graph)
        if graph.startswith(b"sum"):
            return SumScorer()
        if graph.startswith(b"broken"):
            return BrokenScorer()
        if graph.startswith(b"nan"):
            return NanScorer()
        if graph.startswith(b"coarse"):
            return CheckedScorer(SumScorer(), CoarseScorer())
        raise ArtefactError(f"{graph!r} is no graph")


class BrokenScorer(SumScorer):
    """Fails on every request but the one that it is tried out with, of `TRIED` items."""

    def begin(self, candidates: int) -> None:
        if candidates != TRIED:
            raise RuntimeError("the graph failed")


class NanScorer(SumScorer):
    def squashed(self, total_C: Floats) -> Floats:
        return np.full_like(total_C, np.nan)


@dataclass
class CoarseScorer(SumScorer):
    """Log odds that are `error` too high."""

    error: float = 0.01

    def squashed(self, total_C: Floats) -> Floats:
        return super().squashed(total_C + np.float32(self.error))


def artefact(
    step: int = 1,
    graph: bytes = b"sum",
    spec: FeatureSpec = SPEC,
    dim: int = DIM,
    tasks: tuple[str, ...] = ("click",),
) -> Artefact:
    dims = {field.table: dim for field in spec.sparse} | {"hour": dim}
    scaling = RunningMoments(spec.numeric).scaling()
    return Artefact(f"step-{step}", step, 1_000 * step, dims, {RANKER: graph}, spec, scaling, tasks)


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
