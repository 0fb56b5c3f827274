"""The drop-in for sequences: rows of histories, as jagged as their ids. What they learn: `test_judged`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchrec import EmbeddingCollection, EmbeddingConfig

from embedding.store import Admission
from embedding.torchrec.checkpoints.taken_over import take_over
from embedding.torchrec.collection import counters, expire, set_time
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sequences import CollisionFreeEmbeddingCollection
from embedding.torchrec.sharded_store.sharded_model import shard
from recsys.errors import InvalidValueError
from tests.contracts.embedding_store import DAY
from tests.embedding.torchrec.models import CPU, DIM, LR, SCALE, Sparse, bags, fresh, histories
from tests.embedding.torchrec.processes import run

pytestmark = pytest.mark.slow


def plain(need_indices: bool = False) -> EmbeddingCollection:
    """Two tables: films are watched and shown, genres are of what was watched, and what was watched has an id there."""
    tables = [
        EmbeddingConfig(name="film", embedding_dim=DIM, num_embeddings=64, feature_names=["watched", "shown"]),
        EmbeddingConfig(name="genre", embedding_dim=DIM, num_embeddings=64, feature_names=["genre", "watched"]),
    ]
    return EmbeddingCollection(tables=tables, need_indices=need_indices)


def model(need_indices: bool = False, **options: Any) -> Any:
    ours = CollisionFreeEmbeddingCollection(plain(need_indices), **{"init_scale": SCALE} | options)
    sharded = shard(Sparse(ours), Ranks(None, CPU).group, CPU)
    set_time(sharded, 0)
    return sharded


def test_outputs_are_named_and_jagged_as_torchrecs_own() -> None:
    batch = bags(other=[[1], [2], []], genre=[[5], [], []], watched=[[1, 2, 1], [], [3]], shown=[[], [], [2**64 - 1]])
    rows, theirs = model(need_indices=True)(batch), plain(need_indices=True)
    small = bags(other=[[1], [2], []], genre=[[5], [], []], watched=[[1, 2, 1], [], [3]], shown=[[], [], [9]])
    for name, jagged in theirs(small).items():
        assert rows[name].lengths().tolist() == jagged.lengths().tolist()
        assert rows[name].values().shape == jagged.values().shape
    assert set(rows) == {"watched@film", "shown", "genre", "watched@genre"}
    film = fresh(1, 2, 1, 3, table="film")
    np.testing.assert_array_equal(rows["watched@film"].values().detach(), film)
    np.testing.assert_array_equal(rows["shown"].values().detach(), fresh(2**64 - 1, table="film"))
    assert rows["watched@film"].weights().tolist() == [1, 2, 1, 3]


def test_ids_without_a_row_read_zeros_in_their_place_and_learn_nothing() -> None:
    sharded = model(admission=Admission("count", 2))
    rows = sharded(bags(watched=[[1, 2, 1]], shown=[[]], genre=[[]]))["watched@film"]
    np.testing.assert_array_equal(rows.values().detach(), fresh(1, 0, 1, table="film") * [[1], [0], [1]])
    rows.values().sum().backward()
    again = sharded(bags(watched=[[1, 2]], shown=[[]], genre=[[]]))["watched@film"].values().detach()
    one = fresh(1, table="film")[0]  # trained twice by TorchRec's default without an optimizer: SGD at a rate of 0.01
    np.testing.assert_allclose(again, [one - 0.02, fresh(2, table="film")[0]], atol=1e-6)
    assert counters(sharded, "film")["unadmitted"] == 1


def test_histories_expire_and_may_be_empty() -> None:
    sharded = histories(64, ttl=DAY)
    set_time(sharded, 0)
    assert sharded(bags(t=[[], []])).values().shape == (0, DIM)
    sharded(bags(t=[[1, 2], [3]]))
    assert expire(sharded, 3 * DAY) == 3


def test_a_missing_feature_and_an_unsharded_model_are_said() -> None:
    with pytest.raises(InvalidValueError, match="features genre, shown are missing"):
        model()(bags(watched=[[1]]))
    with pytest.raises(InvalidValueError, match="shard the model first"):
        CollisionFreeEmbeddingCollection(plain())(bags(watched=[[1]], shown=[[]], genre=[[]]))


def test_weights_of_torchrecs_own_are_taken_over() -> None:
    sharded, theirs = model(), plain()
    take_over(sharded, theirs.state_dict())
    batch = bags(watched=[[1, 2]], shown=[[63]], genre=[[0]])
    sharded.eval()
    for name, jagged in theirs(batch).items():
        np.testing.assert_array_equal(sharded(batch)[name].values().detach(), jagged.values().detach())


def members(rank: int, world: int, folder: Path) -> None:
    sharded = histories(64)
    set_time(sharded, 0)
    own = [[list(range(9))], [[20], []]][rank]  # unequal histories and batches
    np.testing.assert_array_equal(sharded(bags(t=own)).values().detach(), fresh(*[key for bag in own for key in bag]))
    sharded(bags(t=[[]] if rank else [[7, 7]])).values().sum().backward()
    sharded.eval()
    learned = sharded(bags(t=[[7]])).values().detach()
    np.testing.assert_allclose(learned, fresh(7) - LR, atol=1e-6)  # of Adagrad's first step, the size does not matter


def test_processes_may_have_histories_of_unequal_length(tmp_path: Path) -> None:
    run(2, members, tmp_path)
