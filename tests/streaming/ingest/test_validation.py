"""Checks of lists take time in proportion to their length."""

from __future__ import annotations

import pytest

from recsys.errors import InvalidValueError
from streaming.ingest.validation import check_items_differ


class _Watched(str):
    """Text that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        _Watched.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_a_duplicate_item_is_named_without_comparing_all_to_all() -> None:
    items = [_Watched(f"item {n}") for n in range(5_000)]
    check_items_differ(items)
    with pytest.raises(InvalidValueError, match="duplicate item 'item 4999'"):
        check_items_differ([*items, _Watched("item 4999")])
    assert 0 < _Watched.compared < 20_000
