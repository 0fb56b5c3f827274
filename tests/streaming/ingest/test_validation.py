"""Checks of lists take time in proportion to their length."""

from __future__ import annotations

import pytest

from recsys.errors import InvalidValueError
from streaming.events.schema import Impression, UserUpdate, Value
from streaming.ingest.validation import MAX_VALUES, Rules, check_items_differ


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


def test_a_set_without_bound_is_refused() -> None:
    rules = Rules(request={"tags": "multi"}, item={"tags": "multi"})
    most = Impression(id="i", time=1, user="u", items=["a"], features={"tags": ["t"] * MAX_VALUES})
    rules.check(most)
    more: Value = ["t"] * (MAX_VALUES + 1)
    with pytest.raises(InvalidValueError, match=r"features\.tags: 10,001 values; at most 10,000"):
        rules.check(UserUpdate(time=1, user="u", features={"tags": more}))
    with pytest.raises(InvalidValueError, match=r"item_features\.tags: 10,001 values; at most 10,000"):
        rules.check(Impression(id="i", time=1, user="u", items=["a"], item_features={"tags": [more]}))
    Rules().check(UserUpdate(time=1, user="u", features={"tags": more}))  # which no model reads
