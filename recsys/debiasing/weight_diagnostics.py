"""What weights do to a problem: how far kernel functions are from balance under them, and what they cost.

Base weights 1 / p and balanced ones beside weights that are all equal. Adaptive anchors are left out: they depend on
the errors of a model. Shape suffixes: R observed pairs, K candidates of kernel functions, J chosen ones.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import numpy as np

from recsys.debiasing.anchors import random_anchors, worst_anchors
from recsys.debiasing.balance import Balancing, balance, imbalance
from recsys.debiasing.feedback import Floats
from recsys.debiasing.fitting import FitSettings
from recsys.debiasing.methods import PropensityName
from recsys.debiasing.problem import Problem
from recsys.evaluation.result_file import ResultFile, markdown_table
from recsys.evaluation.svg import figure
from recsys.off_policy.overlap import effective_sample_size

BINS = np.logspace(-2, np.log10(20), 41)
"""Edges for weights of mean 1, which are cut at 20."""


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Some weights of mean 1: |imbalance| of each candidate, largest first, in its deviations; shares in `BINS`.

    `effective` is the effective sample size as a share of the pairs, `cut` how many weights were cut.
    """

    name: str
    gaps: list[float]
    shares: list[float]
    effective: float
    cut: int = 0


class WeightDiagnostics(ResultFile, frozen=True):
    """The weights of one problem, those that are all equal first."""

    made_by: ClassVar[str] = "recsys reproduce coat"
    pairs: int
    weights: tuple[Weights, ...]

    def table(self) -> list[list[str]]:
        head = ["weights", "mean imbalance", "largest", "effective sample size", "weights cut"]
        return [head, *([one.name, *_cells(one, self.pairs)] for one in self.weights)]

    def markdown(self) -> str:
        return markdown_table(self.table(), words=1)

    def plot(self) -> str:
        """Imbalance of every candidate, and the weights themselves, as SVG."""
        return figure(self._draw, (9.6, 3.8))

    def _draw(self, canvas: Any) -> None:
        gaps, spread = canvas.subplots(1, 2)
        for one in self.weights:
            (line,) = gaps.plot(range(1, len(one.gaps) + 1), one.gaps, label=one.name)
            if one.name != self.weights[0].name:  # equal weights are all 1
                spread.stairs(one.shares, BINS, color=line.get_color(), label=f"{one.name}: {one.effective:.0%}")
        gaps.set(xlabel="kernel functions, furthest from balance first", title="Imbalance, in deviations", ylim=0)
        gaps.legend()
        spread.set(xlabel="weight (mean 1)", xscale="log", title="Share of pairs by weight, and effective sample size")
        spread.legend()


def weight_diagnostics(problem: Problem, propensity: PropensityName = "logistic", seed: int = 0) -> WeightDiagnostics:
    """Of equal weights, 1 / p, and those balanced from it for random (RKB) and worst (WKB) Gaussian functions."""
    kernel_RK, target_K = problem.kernel("gaussian", seed)
    base_R, how, count = problem.base_weights(propensity), Balancing(), FitSettings(l2=0.0).anchors
    anchors = {
        "RKB": random_anchors(kernel_RK.shape[1], count, np.random.default_rng(seed)),
        "WKB": worst_anchors(kernel_RK, target_K, base_R, how, count),
    }
    found = {name: balance(kernel_RK[:, at_J], target_K[at_J], base_R, how) for name, at_J in anchors.items()}

    def summed_up(name: str, weights_R: Floats, cut: int = 0) -> Weights:
        gaps_K = np.abs(imbalance(kernel_RK, target_K, weights_R))
        counts, _ = np.histogram(np.clip(weights_R / weights_R.mean(), BINS[0], BINS[-1]), BINS)
        return Weights(
            name=name,
            gaps=(-np.sort(-gaps_K)).round(6).tolist(),
            shares=(counts / len(weights_R)).round(6).tolist(),
            effective=round(effective_sample_size(weights_R) / len(weights_R), 6),
            cut=cut,
        )

    balanced = [summed_up(name, one.weights_R, one.clipped) for name, one in found.items()]
    plain = summed_up("equal", np.ones_like(base_R)), summed_up("1 / p", base_R)
    return WeightDiagnostics(pairs=len(base_R), weights=(*plain, *balanced))


def _cells(one: Weights, pairs: int) -> list[str]:
    effective = f"{one.effective * pairs:,.0f} ({one.effective:.0%})"
    return [f"{np.mean(one.gaps):.4f}", f"{max(one.gaps):.4f}", effective, str(one.cut)]
