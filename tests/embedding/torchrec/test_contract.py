"""What TorchRec's own tests ask of collections, of the drop-in and of TorchRec's row-wise collection alike.

Steps are in `test_judged`, processes in `test_ranks`; the whole list is in `docs/torchrec.md`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed._shard.metadata import ShardMetadata
from torch.distributed._shard.sharding_spec.api import EnumerableShardingSpec
from torch.distributed.optim import (  # type: ignore[attr-defined]
    _apply_optimizer_in_backward as apply_optimizer_in_backward,
)
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, PoolingType
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
from torchrec.distributed.types import EmbeddingModuleShardingPlan, ParameterSharding, ShardingPlan
from torchrec.fx import Tracer
from torchrec.optim import RowWiseAdagrad

from embedding.torchrec.collection import (
    CollisionFreeEmbeddingBagCollection,
    CollisionFreeSharder,
    counters,
    set_time,
)
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sharded_store.sharded_model import shard
from recsys.errors import InvalidValueError
from tests.embedding.torchrec.models import CPU, DIM, LR, Sparse, bags, collection, histories, model
from tests.embedding.torchrec.test_judged import IDS, batches, judge, judge_of_histories, step_by_step, values

pytestmark = pytest.mark.slow


def drop_in() -> Any:
    ours = model({"t": 64 * IDS})
    set_time(ours, 0)
    return ours


def own() -> Any:
    return judge(PoolingType.SUM, RowWiseAdagrad)


def drop_in_histories() -> Any:
    ours = histories(64 * IDS)
    set_time(ours, 0)
    return ours


def own_histories() -> Any:
    return judge_of_histories(RowWiseAdagrad)


MAKES = [drop_in, own, drop_in_histories, own_histories]


@pytest.mark.parametrize("make", MAKES)
def test_a_state_dict_makes_another_model_read_and_learn_alike(make: Any) -> None:
    first, second = make(), make()
    step_by_step(first, batches())
    second.load_state_dict(first.state_dict())
    second.fused_optimizer.load_state_dict(first.fused_optimizer.state_dict())
    np.testing.assert_array_equal(values(second), values(first))
    for each in (first, second):
        step_by_step(each, batches(rank=1))
    np.testing.assert_array_equal(values(second), values(first))


@pytest.mark.parametrize("make", MAKES)
def test_reading_in_evaluation_mode_changes_nothing(make: Any) -> None:
    each = make()
    step_by_step(each, batches())
    before = {name: part.local_shards()[0].tensor.clone() for name, part in rows_of(each)}
    each.eval()
    with torch.no_grad():
        for batch in batches(rank=1):
            each(batch)
    for name, part in rows_of(each):
        np.testing.assert_array_equal(part.local_shards()[0].tensor, before[name])


def rows_of(each: Any) -> list[tuple[str, Any]]:
    return [(name, part) for name, part in each.state_dict().items() if name.endswith("weight")]


@pytest.mark.parametrize("make", MAKES)
def test_a_gradient_of_zero_leaves_every_row(make: Any) -> None:
    each = make()
    step_by_step(each, batches())
    before = values(each)
    (each(batches(rank=1)[0]).values() * 0).sum().backward()
    np.testing.assert_array_equal(values(each), before)


def two_dimensions() -> EmbeddingBagCollection:
    """A narrow table and a wide one, with a row for each id."""
    tables = [
        EmbeddingBagConfig(name=name, embedding_dim=dim, num_embeddings=64, feature_names=[name])
        for name, dim in (("t", DIM), ("u", 3 * DIM))
    ]
    plain = EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
    apply_optimizer_in_backward(RowWiseAdagrad, plain.parameters(), {"lr": LR})
    return plain


def test_tables_of_mixed_dimensions_learn_what_torchrecs_own_learn() -> None:
    ours = shard(Sparse(CollisionFreeEmbeddingBagCollection(two_dimensions())), Ranks(None, CPU).group, CPU)
    plan = construct_module_sharding_plan(
        two_dimensions(),
        {"t": row_wise(), "u": row_wise()},
        EmbeddingBagCollectionSharder(),
        world_size=1,
        local_size=1,
        device_type="cpu",
    )
    own = DistributedModelParallel(Sparse(two_dimensions()), device=CPU, plan=ShardingPlan({"sparse": plan}))
    set_time(ours, 0)
    every = [[key] for key in range(64)]
    begun = ours(bags(t=every, u=every)).values().detach()
    for (_, part), rows in zip(rows_of(own), begun.split([DIM, 3 * DIM], dim=1), strict=True):
        part.local_shards()[0].tensor.copy_(rows)
    for batch in batches():
        both = KeyedJaggedTensor.concat([batch, bags(u=[[key] for key in range(8)])])
        for each in (ours, own):
            each(both).values().square().sum().backward()
    learned = own(bags(t=every, u=every)).values().detach()
    assert (learned - begun).abs().max() > LR / 10
    torch.testing.assert_close(ours(bags(t=every, u=every)).values().detach(), learned, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("sharding", "kernel"), [("table_wise", "fused"), ("column_wise", "fused"), ("row_wise", "dense")]
)
def test_plans_where_rows_could_not_be_reset_are_refused(sharding: str, kernel: str) -> None:
    spec = EnumerableShardingSpec([ShardMetadata([0, 0], [64, DIM], "rank:0/cpu")])
    part = EmbeddingModuleShardingPlan({"t": ParameterSharding(sharding, kernel, [0], spec)})
    whole = ShardingPlan({"sparse": part})
    with pytest.raises(InvalidValueError, match=rf"table 't': the plan has {sharding} in {kernel} kernels, write row_"):
        DistributedModelParallel(
            Sparse(collection({"t": 64})), device=CPU, plan=whole, sharders=[CollisionFreeSharder()]
        )


def test_remapped_ids_are_rows_within_the_bound_one_an_id() -> None:
    ours = model({"t": 64}, return_rows=True)
    set_time(ours, 0)
    ids = [2**63 + 5, 7, 2**64 - 1, 7]
    rows = ours(bags(t=[ids[:2], [], ids[2:]]))[1]["t"]
    assert rows.lengths().tolist() == [2, 0, 2]
    numbers = rows.values().tolist()
    assert numbers[1] == numbers[3]
    assert len(set(numbers)) == 3
    assert all(0 <= number < 64 for number in numbers)


def test_a_table_may_be_smaller_than_the_ids_of_its_batches() -> None:
    ours = model({"t": 64})
    set_time(ours, 0)
    ours(bags(t=[[key] for key in range(100)]))
    counted = counters(ours, "t")
    assert (counted["live"], counted["refused"]) == (64, 36)


def test_symbolic_traces_keep_the_collection_as_one_node() -> None:
    traced = Tracer(leaf_modules=["CollisionFreeEmbeddingBagCollection"]).trace(Sparse(collection({"t": 64})))
    assert [node.op for node in traced.nodes] == ["placeholder", "call_module", "output"]


def test_an_unsharded_collection_says_to_shard_it_where_torchrecs_own_reads() -> None:
    table = EmbeddingBagConfig(name="t", embedding_dim=DIM, num_embeddings=IDS, feature_names=["t"])
    batch: KeyedJaggedTensor = bags(t=[[1], [2]])
    assert EmbeddingBagCollection(tables=[table])(batch).values().shape == (2, DIM)
    with pytest.raises(InvalidValueError, match="shard the model first"):
        collection({"t": 64})(batch)
