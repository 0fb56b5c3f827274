"""Kernel balancing: a whole fit against the form of the authors' code, growth with the pairs, and its price online.

The fit is of data with the sizes of Coat: 290 users, 300 items, 24 observed ratings each. The authors' form is theirs
in arithmetic, and stops by their rule; when quick, after 30 epochs at the latest, which flatters it. Everything runs in
one thread: of two, on tensors as small as theirs, one spins for the other at sixteen times the processor time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks import _batch_balance, _learner_steps
from benchmarks.harness import Result, Target, interleave, median, ratio
from recsys.debiasing.balance import balance
from recsys.debiasing.feedback import SelfSelected
from recsys.debiasing.fitting import FitSettings, fit_method
from recsys.debiasing.kernel_functions import Kernel
from recsys.debiasing.methods import Method
from recsys.debiasing.problem import Problem

USERS, ITEMS, EACH, FEATURES = 290, 300, 24, 4
PAIRS = 500_000
"""And four times as many: both too large for caches, in which a pair takes two thirds of the time."""
_KERNELS = 16


def run(quick: bool) -> Result:
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return _measured(quick)


def _measured(quick: bool) -> Result:
    fits = interleave(_fits(30 if quick else 1000), rounds=1 if quick else 2)
    rounds = range(2 if quick else 5)
    grown = {str(PAIRS * times): [_balanced(PAIRS, times) for _ in rounds] for times in (1, 4)}
    options: dict[str, dict[str, Any]] = {"plain": {}, "balanced": {"debiasing": {"balance": "random"}}}
    online = _learner_steps.seconds(options, rounds=4 if quick else 30)
    small, large = (median(values) for values in grown.values())
    added = ratio(online["balanced"], online["plain"]) - 1
    targets = [
        Target("time of a fit over the authors' form", ratio(fits["ours"], fits["authors"]), 0.5, "lower"),
        Target("time of four times the pairs, over four", large / small / 4, 1.2, "lower"),
        Target("a million pairs, share of 60 s", large * 1_000_000 / (4 * PAIRS) / 60, 1.0, "lower"),
        Target("CPU time added to a step of the learner", added, 0.15, "lower"),
    ]
    raw = {"fit_cpu_s": fits, "balance_s": grown, "online_cpu_s": online, "functions": _KERNELS}
    return Result("balance", targets, raw)


def _fits(epochs: int) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    users_UF, items_IF = rng.normal(0, 0.1, (USERS, FEATURES)), rng.normal(0, 0.1, (ITEMS, FEATURES))
    liked_UI = users_UF @ items_IF.T * 100 + rng.gumbel(size=(USERS, ITEMS))
    pairs_R2 = np.stack([np.repeat(np.arange(USERS), EACH), np.argsort(-liked_UI, 1)[:, :EACH].ravel()], axis=1)
    labels_R = (rng.random(len(pairs_R2)) < 0.5).astype(np.float64)
    inverse_R = np.full(len(pairs_R2), ITEMS / EACH)
    method = Method("RKB-IPS", "snips", "none", "random")

    def ours() -> object:
        problem = Problem(SelfSelected(pairs_R2[:, 0], pairs_R2[:, 1], labels_R), users_UF, items_IF)
        return fit_method(method, problem, np.arange(len(pairs_R2)), FitSettings(l2=0.3), 0)

    return {
        "ours": ours,
        "authors": lambda: _batch_balance.fit(pairs_R2, labels_R, inverse_R, users_UF, items_IF, epochs),
    }


def _balanced(rows: int, times: int) -> float:
    """CPU seconds to balance random functions of so many pairs, each there so often, kernel and target included.

    The same pairs several times are solved in the same steps, so what differs is the work of a step.
    """
    rng = np.random.default_rng(0)
    shown_NF, all_NF = (np.tile(rng.normal(mean, 1, (rows, 2 * FEATURES)), (times, 1)) for mean in (0.3, 0.0))
    begin = time.process_time()
    anchors_JF = all_NF[:_KERNELS]
    kernel = Kernel("gaussian", 2.0 * FEATURES**0.5)
    balance(kernel(shown_NF, anchors_JF), kernel(all_NF, anchors_JF).mean(0), np.ones(rows * times))
    return time.process_time() - begin
