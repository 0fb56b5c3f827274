"""Items by name: hidden at once, found while an index is built, built anew when recall falls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.index.item_index import RECALL, ItemIndex
from serving.index.vector_index import Floats

SIZE = 8


class Later:
    """Keeps what an index wants to do in another thread, until `run`."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def __call__(self, work: Callable[[], None]) -> None:
        self.work.append(work)

    def run(self) -> None:
        while self.work:
            self.work.pop()()


def around(centre: int, count: int, seed: int) -> Floats:
    """Vectors of length 1 near one of many directions."""
    rng = np.random.default_rng(seed)
    at = np.random.default_rng(1000 + centre).normal(size=SIZE)
    drawn = at + 0.3 * rng.normal(size=(count, SIZE))
    unit: Floats = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    return unit


def several(count: int, first: int = 0) -> tuple[list[str], Floats]:
    """Items around eight directions, from the `first` one on."""
    parts = [around(first + centre, count // 8, centre) for centre in range(8)]
    return [f"{first}-{n}" for n in range(8 * (count // 8))], np.concatenate(parts)


operations = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "maintain", "run"]), st.lists(st.integers(0, 30), max_size=12)),
    max_size=14,
)


@pytest.mark.slow
@given(operations, st.sets(st.integers(0, 30), max_size=5))
@settings(max_examples=40)
def test_a_search_finds_what_a_dict_does_whatever_is_being_built(
    steps: list[tuple[str, list[int]]], excluded: set[int]
) -> None:
    later = Later()
    index, known = ItemIndex(SIZE, exact_below=12, start=later), dict[str, Floats]()
    for number, (step, chosen) in enumerate(steps):
        items = [f"i{n}" for n in chosen]
        match step:
            case "put":
                new = around(number, len(items), number)
                index.put(items, new)  # an item twice has the last of its vectors
                known |= dict(zip(items, new, strict=True))
            case "remove":
                index.remove(items)
                known = {item: vector for item, vector in known.items() if item not in items}
            case "maintain":
                index.maintain()
            case "run":
                later.run()
    query_E, exclude = around(3, 1, 50)[0], {f"i{n}" for n in excluded}
    found, scores = index.search(query_E, 31, exclude)
    assert set(found) <= known.keys() - exclude
    np.testing.assert_allclose([known[item] @ query_E for item in found], scores, atol=2e-3)
    if index.kind == "exact":
        assert set(found) == known.keys() - exclude
    assert len(index) == len(known)
    assert set(index.items()) == known.keys()


def test_items_that_change_while_an_index_is_built_are_in_it_as_they_are() -> None:
    later = Later()
    index = ItemIndex(SIZE, exact_below=100, start=later)
    index.put(*several(160))
    index.maintain()
    assert index.kind == "exact"
    building = later.work.pop()
    target = around(99, 1, 7)
    original = index._bring_up_to_date

    def meanwhile(built: object) -> None:
        index._lock._free.release()  # as another thread does before the build takes the lock
        index.put(["new", "0-0"], np.concatenate([target, -target]))
        index.remove(["0-1"])
        index._lock._free.acquire()
        original(built)  # type: ignore[arg-type]

    index._bring_up_to_date = meanwhile  # type: ignore[method-assign]
    building()
    assert (index.kind, index.built) == ("ivf", 1)
    assert index.search(target[0], 1)[0] == ["new"]
    assert "0-1" not in index.search(several(160)[1][1], 160)[0]
    assert index.search(-target[0], 1)[0] == ["0-0"]


def test_centroids_are_trained_anew_when_recall_falls() -> None:
    later = Later()
    index = ItemIndex(SIZE, exact_below=200, start=later)
    old, vectors = several(800)
    index.put(old, vectors)
    index.maintain()
    later.run()
    assert (index.kind, index.built) == ("ivf", 1)
    first = index._index
    index._index.probes = 1  # type: ignore[attr-defined]
    items, moved = several(4000, first=20)
    index.put(items, moved)
    index.remove(old)
    for vector_E in moved[::200]:
        index.search(vector_E, 10)
    index.maintain()
    later.run()
    assert index.recall >= RECALL - 0.005
    assert index.built == 2 or index._index.probes > 1  # type: ignore[attr-defined]
    assert index._index is not first or index.built == 1


def test_a_small_catalogue_is_searched_exactly_again() -> None:
    later = Later()
    index = ItemIndex(SIZE, exact_below=64, start=later)
    items, vectors = several(80)
    index.put(items, vectors)
    index.maintain()
    later.run()
    assert index.kind == "ivf"
    index.remove(items[20:])
    index.maintain()
    later.run()
    assert (index.kind, len(index)) == ("exact", 20)
    assert index.search(vectors[3], 1)[0] == [items[3]]


def test_a_failed_build_leaves_the_index_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    later = Later()
    index = ItemIndex(SIZE, exact_below=64, start=later)
    index.put(*several(80))

    def fails() -> None:
        raise MemoryError("no memory for centroids")

    monkeypatch.setattr(index, "_build", fails)
    index.maintain()
    later.run()
    assert (index.kind, len(index.search(around(0, 1, 0)[0], 100)[0])) == ("exact", 80)
    monkeypatch.undo()
    index.maintain()
    later.run()
    assert index.kind == "ivf"


def test_an_empty_index_finds_nothing_and_other_sizes_are_refused() -> None:
    index = ItemIndex(SIZE)
    assert index.search(np.ones(SIZE, np.float32), 5) == ([], [])
    index.put([], np.zeros((0, SIZE), np.float32))
    with pytest.raises(ValueError, match=r"vectors have shape \(1, 3\), this index takes \(1, 8\)"):
        index.put(["a"], np.zeros((1, 3), np.float32))


def test_products_with_given_items() -> None:
    index = ItemIndex(2)
    index.put(["a", "b", "c"], np.array([[1, 0], [0, 1], [1, 1]], np.float32))
    index.remove(["b"])
    found = index.products(np.array([2, 3], np.float32), ["c", "b", "z", "a"])
    np.testing.assert_array_equal(found, [5, np.nan, np.nan, 2])
    assert index.products(np.array([2, 3], np.float32), []).tolist() == []
