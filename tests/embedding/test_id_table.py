"""The id table beyond what the store's contract says."""

import numpy as np
import pytest

from embedding.id_table import IdTable


def test_time_may_move_on_by_decades() -> None:
    """The table tells 32 years apart; older sightings become the oldest there are, and stay in order among the rest."""
    year = 366 * 24 * 60
    table = IdTable(capacity=100)
    for age, one in ((0, 1), (20, 2), (31, 3)):
        table.find_or_insert(np.array([one], np.uint64), minute=age * year)
    assert table.find(np.array([1, 2, 3], np.uint64)).tolist() == [0, 1, 2]
    gone, _ = table.expire(before=19 * year)
    assert gone.tolist() == [1]
    gone, _ = table.expire(before=21 * year)
    assert gone.tolist() == [2]
    with pytest.raises(ValueError, match="check its unit"):
        table.find_or_insert(np.array([4], np.uint64), minute=200 * year)
