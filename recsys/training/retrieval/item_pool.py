"""Shown items, to draw negatives from.

Shape suffixes: B rows, R places of the pool, W most values of a field, N numeric fields, S drawn items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from embedding.hashing import mix
from streaming.encode.batch import Jagged
from streaming.encode.feature_spec import Field

Ids = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.float32]

MOST_VALUES = 16
"""Values of a multi-valued field that are remembered of an item."""


class ItemPool:
    """The features, as they were shown last, of up to `places` items; `fields` are those of the item.

    An item has its place by a hash of its id, and takes it from another one. So the pool follows the catalogue, a draw
    does not depend on how often an item is shown, and the pool is a function of the batches alone: one filled from the
    catalogue would depend on how far the log was read ahead.
    """

    def __init__(self, sparse: Sequence[Field], numeric: int, places: int) -> None:
        self._places = places
        self.known_R = np.zeros(places, np.bool_)
        self.keys_R = np.zeros(places, np.uint64)
        self.numeric_RN = np.zeros((places, numeric), np.float32)
        self.lengths = {field.name: np.zeros(places, np.int32) for field in sparse}
        widths = {field.name: MOST_VALUES if field.kind == "multi" else 1 for field in sparse}
        self.values = {name: np.zeros((places, width), np.uint64) for name, width in widths.items()}
        self._filled: npt.NDArray[np.int64] | None = None

    def add(self, keys_B: Ids, ids: dict[str, Jagged], numeric_BN: Numbers) -> None:
        """Items of a batch, by key. Of equal ones the last counts."""
        place_B = (mix(keys_B) % np.uint64(self._places)).astype(np.int64)
        place_P, last_P = np.unique(place_B[::-1], return_index=True)
        row_P = len(place_B) - 1 - last_P
        self.known_R[place_P], self._filled = True, None
        self.keys_R[place_P] = keys_B[row_P]
        self.numeric_RN[place_P] = numeric_BN[row_P]
        for name, values_RW in self.values.items():
            taken, width = ids[name].take(row_P), values_RW.shape[1]
            values_RW[place_P], self.lengths[name][place_P] = _padded(taken, width)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Ids, dict[str, Jagged], Numbers]:
        """Keys, ids and numbers of `count` items, drawn uniformly with replacement; none from an empty pool."""
        if self._filled is None:
            self._filled = np.flatnonzero(self.known_R)
        place_S = self._filled[rng.integers(0, len(self._filled), count if len(self._filled) else 0)]
        ids = {}
        for name, values_RW in self.values.items():
            lengths_S = self.lengths[name][place_S]
            ids[name] = Jagged(values_RW[place_S][_inside(lengths_S, values_RW.shape[1])], lengths_S)
        return self.keys_R[place_S], ids, self.numeric_RN[place_S]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What it holds, by name; ids as signed numbers, which safetensors has in any version."""
        named: dict[str, npt.NDArray[Any]] = {"known": self.known_R, "keys": self.keys_R.view(np.int64)}
        named |= {"numeric": self.numeric_RN}
        named |= {f"values.{name}": values.view(np.int64) for name, values in self.values.items()}
        return named | {f"lengths.{name}": lengths for name, lengths in self.lengths.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `arrays` returned, as tensors. Raises KeyError or ValueError if it is of another pool."""
        for name, array in self.arrays().items():
            array[...] = state[name].numpy()
        self._filled = None

    def __len__(self) -> int:
        return int(np.count_nonzero(self.known_R))


def _padded(ids: Jagged, width: int) -> tuple[Ids, npt.NDArray[np.int32]]:
    """The first `width` values of each row, followed by zeros, and how many there are."""
    starts_P = np.cumsum(ids.lengths_B) - ids.lengths_B
    lengths_P = np.minimum(ids.lengths_B, width)
    inside_PW = _inside(lengths_P, width)
    values_PW = np.zeros(inside_PW.shape, np.uint64)
    values_PW[inside_PW] = ids.values[(starts_P[:, None] + np.arange(width))[inside_PW]]
    return values_PW, lengths_P


def _inside(lengths_P: npt.NDArray[np.int32], width: int) -> npt.NDArray[np.bool_]:
    return np.asarray(np.arange(width) < lengths_P[:, None], np.bool_)
