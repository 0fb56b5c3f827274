"""Kernel balancing while the stream goes on.

Shape suffixes: B rows of a batch, S shown items of it, R remembered rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recsys.errors import InvalidValueError
from recsys.training.debiasing.balanced_weights import FoundWeights, KernelBalancing, find
from recsys.training.debiasing.covariates import CovariateReader, Covariates, Floats
from recsys.training.dense.model import under
from recsys.training.retrieval.item_pool import ItemPool
from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.feature_spec import FeatureSpec

WINDOW = 4096
"""Rows that weights are found from: the latest ones."""
FIRST, EVERY = 256, 16_384
"""Rows before weights are found first, then again whenever the rows have doubled, at last every so many."""
_PLACES = 16_384
"""Most shown items remembered to draw pairs with."""
_FOUND, _POOL = "found.", "pool."


class KernelBalance:
    """Factors by which the rows shown weigh as all pairs do, in the mean of kernel functions of their fields.

    The form of `recsys.debiasing.balance`, on the latest rows of the first task. Pairs are those who asked for them,
    each with an item drawn uniformly from those shown so far; candidates of functions lie at such pairs, and the
    bandwidth is the median distance between them. `adaptive` anchors explain the label. A function of seed and batches.
    Raises InvalidValueError if `spec` has no categorical field with source `item`.
    """

    def __init__(self, spec: FeatureSpec, options: KernelBalancing, seed: int) -> None:
        self.options, self._seed = options, seed
        self._contexts, self._items = CovariateReader(spec, of_item=False), CovariateReader(spec, of_item=True)
        if spec.item_key is None:
            raise InvalidValueError("kernel balancing needs a categorical field of source `item`: add one")
        self._key = spec.item_key
        coded = [replace(field, kind="categorical") for field in self._items.sparse]
        self._pool = ItemPool(coded, self._items.numbers, _PLACES)
        codes = len(self._contexts.sparse) + len(self._items.sparse)
        numbers = self._contexts.numbers + self._items.numbers
        self._rows = Covariates(np.zeros((WINDOW, codes), np.int64), np.zeros((WINDOW, numbers)))
        self._base_R, self._labels_R = np.ones(WINDOW), np.zeros(WINDOW)
        self._found = FoundWeights.none(codes, numbers)
        self._seen, self._next = 0, FIRST

    @property
    def figures(self) -> dict[str, float]:
        """Of the rows that the weights in use were found from."""
        names = ("gap_before", "gap_after", "effective_share", "clipped_share")
        return dict(zip(names, self._found.figures.tolist(), strict=True))

    def factors(self, batch: TrainingBatch, base_B: Floats) -> Floats:
        """[B], to multiply the weights `base_B` by. They are 1 before `FIRST` rows were seen."""
        contexts, items = self._contexts.read(batch), self._items.read(batch)
        rows = contexts.beside(items)
        shown_S = np.flatnonzero((batch.counted_B > 0) & (batch.tasks_B == 0))
        self._add_items(batch.ids[self._key].values[shown_S], items.take(shown_S))
        self._remember(rows.take(shown_S), base_B[shown_S], batch.labels_B[shown_S])
        if self._seen >= self._next:
            self._find()
        return self._found.factors(rows, self.options)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that it knows, by name."""
        named: dict[str, npt.NDArray[Any]] = {"codes": self._rows.codes_RC, "numbers": self._rows.numbers_RN}
        named |= {"options": self.options.numbers()}
        named |= {"base": self._base_R, "labels": self._labels_R, "clocks": np.array([self._seen, self._next])}
        named |= {f"{_FOUND}{f.name}": getattr(self._found, f.name) for f in fields(FoundWeights)}
        return named | {f"{_POOL}{name}": array for name, array in self._pool.arrays().items()}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `arrays` returned, as tensors. Weights found by other options are found anew at once."""
        arrays = {name: tensor.numpy().copy() for name, tensor in state.items()}
        self._rows = Covariates(arrays["codes"], arrays["numbers"])
        self._base_R, self._labels_R = arrays["base"], arrays["labels"]
        self._seen, self._next = arrays["clocks"].tolist()
        self._found = FoundWeights(**{f.name: arrays[f"{_FOUND}{f.name}"] for f in fields(FoundWeights)})
        self._pool.restore(under(_POOL, dict(state)))
        if self._seen >= FIRST and not np.array_equal(arrays["options"], self.options.numbers()):
            self._find()

    def _add_items(self, keys_S: npt.NDArray[np.uint64], items: Covariates) -> None:
        ones_S = np.ones(len(keys_S), np.int32)
        ids = {
            field.name: Jagged(codes_S.view(np.uint64), ones_S)
            for field, codes_S in zip(self._items.sparse, items.codes_RC.T.copy(), strict=True)
        }
        self._pool.add(keys_S, ids, items.numbers_RN.astype(np.float32))

    def _remember(self, rows: Covariates, base_S: Floats, labels_S: npt.NDArray[np.float32]) -> None:
        latest_S = np.arange(len(rows))[-WINDOW:]
        place_S = (self._seen + latest_S) % WINDOW
        latest = rows.take(latest_S)
        self._rows.codes_RC[place_S], self._rows.numbers_RN[place_S] = latest.codes_RC, latest.numbers_RN
        self._base_R[place_S], self._labels_R[place_S] = base_S[latest_S], labels_S[latest_S]
        self._seen += len(rows)

    def _find(self) -> None:
        known_R = np.arange(min(self._seen, WINDOW))
        rng = np.random.default_rng((self._seed, self._seen))
        rows = self._rows.take(known_R)
        pairs = self._pairs(rows, rng)
        self._found = find(rows, pairs, self._base_R[known_R], self._labels_R[known_R], self.options, rng)
        self._next = self._seen + min(self._seen, EVERY)

    def _pairs(self, rows: Covariates, rng: np.random.Generator) -> Covariates:
        """Those who asked for `rows`, each with an item drawn uniformly."""
        _, ids, numbers_RN = self._pool.draw(len(rows), rng)
        codes_RC = np.stack([ids[field.name].values.view(np.int64) for field in self._items.sparse], axis=1)
        asked = Covariates(rows.codes_RC[:, : len(self._contexts.sparse)], rows.numbers_RN[:, : self._contexts.numbers])
        return asked.beside(Covariates(codes_RC, numbers_RN.astype(np.float64)))
