"""Scores in less than float32, as long as they are near those in float32 on the requests that come.

Shape suffixes: C candidates, T tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from functools import partial

import numpy as np

from serving.model.chunked_scorer import NO_HISTORY, Floats, Scorer
from serving.model.graph_reader import read_graph
from serving.model.measured_precision import MeasuredPrecision, Reduced
from serving.model.scorer import Engine, OpenVinoScorer, load_scorer, processor_capabilities

_Inputs = tuple[Floats, Floats, Floats, Floats, Floats]

BOUNDS: dict[Reduced, float] = {"bfloat16": 0.1, "mixed": 0.01}
"""Largest difference of the log odds: beyond it float32 is used."""
_LEAST = 1e-3
"""Probabilities are compared within [this, 1 - this]: beyond, log odds say more of rounding than of the ranking."""
_KEPT = 8
_CANDIDATES = 128
"""Requests that are compared, and how many candidates of each."""
_EVERY = 1000
"""Requests after which the latest are compared again: rows change while a graph stays."""


class CheckedScorer:
    """Scores by `reduced`, a scorer in the precision `name`, while its error is within `BOUNDS`; else by `exact`.

    The error is that of the latest requests: it is measured by `check` when the first ones have been scored, exactly,
    and then every `_EVERY`; `follow` measures a new graph before its first request. None for `reduced` says that there
    can be no such scorer, for this `reason`.
    """

    def __init__(
        self,
        exact: Scorer,
        reduced: Scorer | None,
        reason: str = "too few requests to measure its error",
        name: Reduced = "bfloat16",
    ) -> None:
        self._exact, self._reduced, self._name = exact, reduced, name
        self._kept: deque[_Inputs] = deque(maxlen=_KEPT)
        self._scored, self._due = 0, _KEPT
        self.precision = MeasuredPrecision("float32", reason=reason, pending=reduced is not None)

    @property
    def engine(self) -> str:
        return self._exact.engine

    def score(
        self,
        request_rows_1FD: Floats,
        item_rows_CFD: Floats,
        request_numeric_1N: Floats,
        item_numeric_CN: Floats,
        history_rows_1LD: Floats = NO_HISTORY,
    ) -> Floats:
        """As `Scorer.score`. The arrays are kept for comparisons, so they must not change afterwards."""
        inputs = request_rows_1FD, item_rows_CFD, request_numeric_1N, item_numeric_CN, history_rows_1LD
        reduced = self._reduced if self.precision.used == self._name else None
        scores_CT = (reduced or self._exact).score(*inputs)
        self._kept.append(_first(inputs))
        self._scored += 1
        return scores_CT

    def follow(self, before: Scorer | None) -> None:
        """Take the place of the scorer of an earlier version, if that had the same inputs, and measure on its requests.

        What was scored by this one so far is forgotten: it was a trial.
        """
        kept = before._kept.copy() if isinstance(before, CheckedScorer) else ()
        self._kept.clear()
        self._kept.extend(kept)
        self._scored = len(kept)
        self.check()

    def check(self) -> None:
        """Measure the error if it is due. Other threads may score meanwhile."""
        if self._reduced is not None and self._scored >= self._due:
            self._due = self._scored + _EVERY
            self.precision = self._measured(self._reduced, list(self._kept.copy()))

    def _measured(self, reduced: Scorer, requests: list[_Inputs]) -> MeasuredPrecision:
        try:
            error = float(np.max([_difference(self._exact.score(*one), reduced.score(*one)) for one in requests]))
        except Exception as failure:  # whatever the engine says, the ranking goes on
            return MeasuredPrecision("float32", reason=f"it cannot be measured: {failure}")
        bound = BOUNDS[self._name]
        if not error <= bound:
            return MeasuredPrecision(
                "float32", error, f"log odds would differ by up to {error:.2g}, more than {bound:g}"
            )
        return MeasuredPrecision(self._name, error)


def load_checked(
    graph: bytes,
    engine: Engine = "auto",
    threads: int = 1,
    capabilities: Callable[[], Collection[str]] = processor_capabilities,
) -> CheckedScorer:
    """A scorer for `graph` in bfloat16, where the processor and the engine have it; see `load_scorer`.

    `capabilities` are the types that the engine computes with natively on this processor.
    """
    exact = load_scorer(graph, engine, threads)
    if not isinstance(exact, OpenVinoScorer):
        return CheckedScorer(exact, None, "ONNX Runtime computes in float32 on processors; install openvino")
    if "BF16" not in capabilities():
        return CheckedScorer(exact, None, "this processor has no instructions for it (avx512_bf16 or amx_bf16)")
    return CheckedScorer(exact, OpenVinoScorer(graph, threads, "bf16"))


def open_reduced(precision: str, threads: int = 1) -> Callable[[bytes], Scorer] | None:
    """How a scorer that computes in this precision alone is made; None for float32 and where the processor lacks it."""
    if precision == "bfloat16" and "BF16" in processor_capabilities():
        return partial(OpenVinoScorer, threads=threads, precision="bf16")
    if precision == "mixed":
        from serving.model.autoint.autoint_scorer import AutoIntScorer
        from serving.model.autoint.lane_pairs import multiplies_pairs

        if multiplies_pairs():
            return lambda graph: AutoIntScorer(read_graph(graph), mixed=True)
    return None


def load_mixed(graph: bytes, threads: int = 1) -> CheckedScorer:
    """A scorer for `graph` by the kernel of AutoInt, with the products in bfloat16 that change scores least; see
    `load_scorer`."""
    exact, opened = load_scorer(graph, "numba", threads), open_reduced("mixed")
    if exact.engine != "numba":
        return CheckedScorer(exact, None, "only the kernel of AutoInt has it, and does not compute this model", "mixed")
    if opened is None:
        return CheckedScorer(exact, None, "this processor has no instructions for it (avx512_bf16)", "mixed")
    return CheckedScorer(exact, opened(graph), name="mixed")


def _difference(exact_CT: Floats, reduced_CT: Floats) -> float:
    """The largest one of the log odds; NaN where one is no number."""
    return float(np.abs(_log_odds(exact_CT) - _log_odds(reduced_CT)).max(initial=0.0))


def _log_odds(probabilities_CT: Floats) -> Floats:
    clipped = np.clip(np.asarray(probabilities_CT, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _first(inputs: _Inputs) -> _Inputs:
    """The same request with its first candidates alone."""
    request_1FD, items_CFD, numeric_1N, numeric_CN, history_1LD = inputs
    return request_1FD, items_CFD[:_CANDIDATES], numeric_1N, numeric_CN[:_CANDIDATES], history_1LD
