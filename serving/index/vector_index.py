"""The interface of an index of vectors.

Shape suffixes: N vectors, E coordinates, K found, S slots.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Slots = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]
"""One bit for each slot, the lowest of a byte first."""


class VectorIndex(Protocol):
    """Vectors by slot, a small number that the caller chooses. Not thread-safe."""

    def __len__(self) -> int:
        """How many vectors it holds."""
        ...

    def put(self, slots_N: Slots, vectors_NE: Floats) -> None:
        """Add or replace vectors. Slots differ."""
        ...

    def remove(self, slots_N: Slots) -> None:
        """Remove vectors that it holds."""
        ...

    def search(self, query_E: Floats, count: int, allowed: Bits) -> tuple[Slots, Floats]:
        """Slots [K] with the greatest inner products, greatest first, and these. At most `count`, of those allowed."""
        ...

    def vectors(self, slots_N: Slots) -> Floats:
        """The vectors [N, E] of slots that it holds."""
        ...

    def contents(self) -> tuple[Slots, Floats]:
        """All slots [N] and their vectors [N, E]."""
        ...
