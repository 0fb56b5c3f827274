"""What every `VectorIndex` promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.index.vector_index import Bits, Floats, VectorIndex

SIZE, SLOTS = 4, 24


def vectors(seed: int, count: int) -> Floats:
    """Of length 1, in half precision, so that no index rounds them."""
    drawn = np.random.default_rng(seed).normal(size=(count, SIZE))
    unit: Floats = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    return unit


def bits(slots: set[int]) -> Bits:
    return np.packbits(np.isin(np.arange(SLOTS), list(slots)), bitorder="little")


class VectorIndexContract(ABC):
    """Subclass as `Test...` and implement `make`."""

    @abstractmethod
    def make(self) -> VectorIndex:
        """An index without vectors of four coordinates that finds all there are."""

    @given(
        st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, SLOTS - 1), max_size=8)), max_size=8),
        st.sets(st.integers(0, SLOTS - 1)),
        st.integers(1, SLOTS),
    )
    @settings(max_examples=40, suppress_health_check=[HealthCheck.differing_executors])
    def test_a_search_equals_one_of_a_dict(
        self, changes: list[tuple[bool, set[int]]], allowed: set[int], count: int
    ) -> None:
        index, known = self.make(), dict[int, Floats]()
        for step, (puts, chosen) in enumerate(changes):
            slots = np.array(sorted(chosen if puts else chosen & known.keys()), np.int64)
            if puts:
                new = vectors(step, len(slots))
                index.put(slots, new)
                known |= dict(zip(slots.tolist(), new, strict=True))
            else:
                index.remove(slots)
                known = {slot: vector for slot, vector in known.items() if slot not in chosen}
        query_E = vectors(99, 1)[0]
        found, scores = index.search(query_E, count, bits(allowed))
        expected = {slot: float(known[slot] @ query_E) for slot in known.keys() & allowed}
        best = sorted(expected.values(), reverse=True)[:count]
        np.testing.assert_allclose(scores, best, atol=1e-5)
        np.testing.assert_allclose([expected[slot] for slot in found.tolist()], scores, atol=1e-5)
        assert len(set(found.tolist())) == len(found)
        slots_N, vectors_NE = index.contents()
        assert len(index) == len(known)
        assert {slot: vector.tolist() for slot, vector in zip(slots_N.tolist(), vectors_NE, strict=True)} == {
            slot: vector.tolist() for slot, vector in known.items()
        }
        held = np.array(sorted(known), np.int64)
        expected_NE = np.array([known[slot] for slot in held.tolist()], np.float32).reshape(-1, SIZE)
        np.testing.assert_array_equal(index.vectors(held), expected_NE)
