"""The drop-in's checkpoints in one process: ids, rows, optimizer state and counts, by the same buckets."""

from __future__ import annotations

import numpy as np
import pytest

from embedding.store import Admission
from embedding.torchrec.collection import counters, expire, set_time
from recsys.errors import CheckpointError
from tests.contracts.embedding_store import DAY
from tests.embedding.torchrec.models import bags, model, read

pytestmark = pytest.mark.slow


def test_a_state_dict_brings_ids_rows_and_optimizer_state() -> None:
    one, other = model({"t": 64}, ttl=DAY, buckets=1), model({"t": 64}, ttl=DAY, buckets=1)
    for sharded in (one, other):
        set_time(sharded, 0)
    one(bags(t=[[1], [2], [3]])).values().sum().backward()
    expire(one, 2 * DAY)
    for ids in ([2, 5], [2**63, 2], [7, 7, 7]):
        one(bags(t=[ids])).values().sum().backward()
        set_time(one, 2 * DAY)
    other(bags(t=[[9]])).values().sum().backward()
    other.load_state_dict(one.state_dict())
    other.fused_optimizer.load_state_dict(one.fused_optimizer.state_dict())
    np.testing.assert_array_equal(read(other, 1, 2, 5, 7, 2**63, 9), read(one, 1, 2, 5, 7, 2**63, 9))
    for sharded in (one, other):
        set_time(sharded, 3 * DAY)
        sharded(bags(t=[[5], [6], [1]])).values().sum().backward()
    np.testing.assert_array_equal(read(other, 1, 2, 5, 6, 7, 2**63), read(one, 1, 2, 5, 6, 7, 2**63))
    assert expire(one, 4 * DAY) == expire(other, 4 * DAY) == 3


def test_a_state_dict_brings_counts_of_ids_not_yet_admitted() -> None:
    one, other = (model({"t": 64}, admission=Admission("count", 3), buckets=4) for _ in range(2))
    for sharded in (one, other):
        set_time(sharded, 0)
    one(bags(t=[[1, 1], [2], [3, 3, 3]]))
    other(bags(t=[[7, 7], [8]]))
    other.load_state_dict(one.state_dict())
    for sharded in (one, other):
        sharded(bags(t=[[1, 2, 7]]))
        assert read(sharded, 1, 2, 3, 7).any(1).tolist() == [True, False, True, False]
    assert counters(other, "t")["live"] == counters(other, "t")["admitted"] == 2


@pytest.mark.parametrize(("theirs", "ours"), [(8, 4), (4, 8), (1, 8), (2, 16), (8, 1)])
def test_a_checkpoint_of_other_buckets_has_the_same_rows(theirs: int, ours: int) -> None:
    given, taker = model({"t": 64}, buckets=theirs), model({"t": 64}, buckets=ours)
    for sharded, ids in ((given, range(20)), (taker, range(15, 25))):
        set_time(sharded, 0)
        sharded(bags(t=[[key] for key in ids])).values().sum().backward()
    taker.load_state_dict(given.state_dict())
    taker.fused_optimizer.load_state_dict(given.fused_optimizer.state_dict())
    np.testing.assert_array_equal(read(taker, *range(30)), read(given, *range(30)))
    for sharded in (given, taker):
        sharded(bags(t=[[key] for key in range(10, 64)])).values().sum().backward()
    np.testing.assert_array_equal(read(taker, *range(64)), read(given, *range(64)))
    assert counters(taker, "t")["live"] == 64


def test_counts_begin_again_in_other_buckets() -> None:
    given, taker = (model({"t": 64}, admission=Admission("count", 2), buckets=buckets) for buckets in (4, 8))
    for sharded, key in ((given, 1), (taker, 2)):
        set_time(sharded, 0)
        sharded(bags(t=[[key]]))
    taker.load_state_dict(given.state_dict())
    taker(bags(t=[[1, 2]]))
    assert counters(taker, "t")["live"] == 0
    taker(bags(t=[[1, 2]]))
    assert counters(taker, "t")["live"] == 2


def test_a_checkpoint_of_other_rows_is_refused_before_anything_changes() -> None:
    given, taker = model({"t": 64}), model({"t": 128})
    for sharded, ids in ((given, range(20)), (taker, range(15, 25))):
        set_time(sharded, 0)
        sharded(bags(t=[[key] for key in ids])).values().sum().backward()
    before = read(taker, *range(30))
    with pytest.raises(CheckpointError, match="'t': the checkpoint has 64 rows, this model has 128"):
        taker.load_state_dict(given.state_dict())
    np.testing.assert_array_equal(read(taker, *range(30)), before)
