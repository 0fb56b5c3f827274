"""Steps of few rows: a factorisation machine of the learner against one in plain Python.

The peer is this project's own, in the manner of libraries that learn row by row: dictionaries of lists, stochastic
gradient descent, seven fields of one id each, ten factors. Ours learns the same rows by Adagrad in batches of 2, 32 and
256, as `recsys fit` does; it also checks every gradient, averages dense weights and keeps what admission and eviction
need. One thread, CPU seconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import torch

from benchmarks._training_sides import batches, config, turn
from benchmarks.harness import Result, Target, interleave, median, ratio
from recsys import wiring
from streaming.encode.batch import TrainingBatch

SIZES = (2, 32, 256)
ROWS = 512
"""Of the peer in a turn."""
FACTORS = 10
RATE = 0.05
MODEL = {"name": "fm", "mlp": []}


def run(quick: bool) -> Result:
    torch.set_num_threads(1)
    configured = config(7, MODEL)
    steps = {size: (32 if quick else 128) if size < SIZES[-1] else 8 for size in SIZES}
    learned = {size: batches(configured, size, steps[size]) for size in SIZES}
    sides = {str(n): turn(wiring.learner(configured), learned[n], steps[n]) for n in SIZES}
    autoint = config(7)
    sides |= {f"AutoInt {n}": turn(wiring.learner(autoint), learned[n], steps[n]) for n in SIZES}
    seconds = interleave(sides | {"plain": _plain(batches(configured, ROWS, 1)[0])}, rounds=5 if quick else 15)
    rows = {side: steps[size] * size for side in sides for size in SIZES if side.split()[-1] == str(size)}
    rows["plain"] = ROWS
    a_row = {side: [one / rows[side] for one in times] for side, times in seconds.items()}
    targets = [Target("batch 2: times the rate of one in plain Python", ratio(a_row["plain"], a_row["2"]), 1.0)]
    targets += [
        Target(f"{name}batch 32: share of the rate at 256", ratio(a_row[f"{name}256"], a_row[f"{name}32"]), 0.5)
        for name in ("", "AutoInt ")
    ]
    rates = {side: 1 / median(times) for side, times in a_row.items()}
    return Result("small_step", targets, {"rows_per_s": rates, "seconds_a_row": a_row})


class PlainMachine:
    """logit = w_0 + sum w_m + sum of <v_m, v_n> over pairs, each id's weight and factors in dictionaries."""

    def __init__(self) -> None:
        self.bias = 0.0
        self.weights: dict[tuple[str, int], float] = {}
        self.factors: dict[tuple[str, int], list[float]] = {}
        self._random = random.Random(0)

    def learn(self, row: Sequence[tuple[str, int]], label: float) -> float:
        """The probability before, and a step of stochastic gradient descent on the log loss."""
        vectors = [self.factors.setdefault(one, []) or self._begin(one) for one in row]
        sums = [sum(values) for values in zip(*vectors, strict=True)]
        squares = sum(value * value for vector in vectors for value in vector)
        logit = self.bias + sum(self.weights.get(one, 0.0) for one in row)
        logit += 0.5 * (sum(total * total for total in sums) - squares)
        probability = 1 / (1 + math.exp(-max(min(logit, 30.0), -30.0)))
        step = RATE * (probability - label)
        self.bias -= step
        for one, vector in zip(row, vectors, strict=True):
            self.weights[one] = self.weights.get(one, 0.0) - step
            self.factors[one] = [v - step * (total - v) for v, total in zip(vector, sums, strict=True)]
        return probability

    def _begin(self, one: tuple[str, int]) -> list[float]:
        self.factors[one] = [self._random.gauss(0, 0.01) for _ in range(FACTORS)]
        return self.factors[one]


def _plain(learned: TrainingBatch) -> Callable[[], None]:
    """All rows of the batch, one by one."""
    machine = PlainMachine()
    columns = [[(name, int(value)) for value in jagged.values] for name, jagged in learned.ids.items()]
    rows = list(zip(*columns, strict=True))
    labels = learned.labels_B.tolist()

    def work() -> None:
        for row, label in zip(rows, labels, strict=True):
            machine.learn(row, label)

    return work
