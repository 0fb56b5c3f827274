"""Rows in columns: taking and cutting them. Shape suffixes: B rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streaming.encode.batch import Jagged, TrainingBatch


def rows_of(count: int) -> TrainingBatch:
    """Row b has b % 3 tags."""
    lengths_B = np.arange(count, dtype=np.int32) % 3
    ids = {
        "user": Jagged(np.arange(count, dtype=np.uint64), np.ones(count, np.int32)),
        "tags": Jagged(np.arange(lengths_B.sum(), dtype=np.uint64), lengths_B),
    }
    columns: dict[str, Any] = {name: np.arange(count) for name in TrainingBatch.columns()}
    columns["numeric_BN"] = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    return TrainingBatch(ids=ids, **columns, now=5, cursor=(7,))


@pytest.mark.parametrize(("size", "first"), [(1, 0), (4, 0), (4, 4), (3, 9), (20, 0), (4, 10), (4, 11)])
def test_parts_are_the_rows_in_their_order(size: int, first: int) -> None:
    rows = rows_of(10)
    parts = list(rows.cut(size, first))
    assert [len(part) for part in parts] == [min(size, 10 - start) for start in range(first, 10, size)]
    for number, part in enumerate(parts):
        start = first + number * size
        expected = rows.take(np.arange(start, min(start + size, 10)))
        for name, jagged in expected.ids.items():
            np.testing.assert_array_equal(part.ids[name].values, jagged.values)
            np.testing.assert_array_equal(part.ids[name].lengths_B, jagged.lengths_B)
        for name in TrainingBatch.columns():
            np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))
        assert (part.now, part.cursor) == (rows.now, rows.cursor)


def test_nothing_is_cut_into_nothing() -> None:
    rows = rows_of(3)
    assert list(rows.take(np.zeros(0, np.int64)).cut(4)) == []
