"""The drop-in against TorchRec's own row-wise collection, whose rows begin alike: what it learns must be the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.optim import _apply_optimizer_in_backward  # type: ignore[attr-defined]
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, PoolingType
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
from torchrec.distributed.types import ShardingPlan
from torchrec.optim import RowWiseAdagrad

from embedding.store import Floats
from embedding.torchrec.collection import set_time
from embedding.torchrec.processes.ranks import Ranks
from tests.embedding.torchrec.models import (
    CPU,
    DIM,
    LR,
    Histories,
    Sparse,
    bags,
    fresh,
    histories,
    model,
    sequences,
)
from tests.embedding.torchrec.processes import run

pytestmark = pytest.mark.slow

IDS = 40
"""Ids 0 to IDS - 1 are the rows of the judge; the drop-in has rows to spare."""
OPTIMIZERS = (torch.optim.SGD, torch.optim.Adagrad, RowWiseAdagrad)
Train = Callable[[Any, Sequence[KeyedJaggedTensor]], None]


def judge(pooling: PoolingType, optimizer: type[torch.optim.Optimizer]) -> Any:
    """TorchRec's collection of table t, with a row for each id, sharded row-wise."""
    table = EmbeddingBagConfig(name="t", embedding_dim=DIM, num_embeddings=IDS, feature_names=["t"], pooling=pooling)
    plain = EmbeddingBagCollection(tables=[table], device=torch.device("meta"))
    _apply_optimizer_in_backward(optimizer, plain.parameters(), {"lr": LR})
    return sharded_by_rows(plain, Sparse(plain), EmbeddingBagCollectionSharder())


def judge_of_histories(optimizer: type[torch.optim.Optimizer]) -> Any:
    """The same of TorchRec's collection of sequences."""
    plain = sequences(optimizer, IDS)
    return sharded_by_rows(plain, Histories(plain), EmbeddingCollectionSharder())


def sharded_by_rows(plain: nn.Module, whole: nn.Module, sharder: Any) -> Any:
    """`whole`, whose only part is `plain`, with rows as the drop-in's begin."""
    ranks = Ranks(None, CPU)
    size = {"local_size": ranks.size, "world_size": ranks.size, "device_type": "cpu"}
    plan = construct_module_sharding_plan(plain, {"t": row_wise()}, sharder, **size)
    (part,) = (name for name, _ in whole.named_children())
    sharded = DistributedModelParallel(whole, device=CPU, plan=ShardingPlan({part: plan}), sharders=[sharder])
    begin = ranks.rank * -(-IDS // ranks.size)
    rows = next(iter(sharded.state_dict().values())).local_shards()[0].tensor
    rows.copy_(torch.from_numpy(fresh(*range(IDS)))[begin : begin + len(rows)])
    return sharded


def values(sharded: Any) -> Floats:
    """The row of each id."""
    with torch.no_grad():
        rows: Floats = sharded.eval()(bags(t=[[key] for key in range(IDS)])).values().numpy()
    sharded.train()
    return rows


def batches(rank: int = 0) -> list[KeyedJaggedTensor]:
    """Bags of ids, some empty, some with an id twice; every id is in the first batch."""
    rng = np.random.default_rng(rank)
    every = [rng.permutation(IDS)[:IDS].reshape(8, -1).tolist()]
    some = [[rng.integers(0, IDS, rng.integers(0, 6)).tolist() for _ in range(8)] for _ in range(5)]
    return [bags(t=batch) for batch in every + some]


def loss(pooled: Any) -> Any:
    """A sum whose gradient differs from bag to bag."""
    outputs = pooled.values()
    return (outputs * torch.linspace(-1, 2, outputs.numel()).view_as(outputs)).sum()


def step_by_step(sharded: Any, given: Sequence[KeyedJaggedTensor]) -> None:
    for batch in given:
        loss(sharded(batch)).backward()


def two_forwards_before_two_backwards(sharded: Any, given: Sequence[KeyedJaggedTensor]) -> None:
    for one, other in zip(given[::2], given[1::2], strict=True):
        losses = [loss(sharded(one)), loss(sharded(other))]
        for each in losses:
            each.backward()


def a_backward_for_each_task(sharded: Any, given: Sequence[KeyedJaggedTensor]) -> None:
    for batch in given:
        pooled = sharded(batch)
        loss(pooled).backward(retain_graph=True)
        (2 * pooled.values().square().sum()).backward(retain_graph=True)
        pooled.values().sum().backward()


def a_backward_of_the_sum(sharded: Any, given: Sequence[KeyedJaggedTensor]) -> None:
    sum(loss(sharded(batch)) for batch in given).backward()


WAYS = (step_by_step, two_forwards_before_two_backwards, a_backward_for_each_task, a_backward_of_the_sum)


def compare(train: Train, pooling: PoolingType, optimizer: type[torch.optim.Optimizer], rank: int = 0) -> None:
    compared(train, model({"t": 64 * IDS}, pooling, optimizer=optimizer), judge(pooling, optimizer), rank)


def compared(train: Train, ours: Any, theirs: Any, rank: int = 0) -> None:
    set_time(ours, 0)
    given = batches(rank)
    with torch.no_grad():  # so that every id has its row
        np.testing.assert_allclose(ours(given[0]).values(), theirs(given[0]).values(), atol=1e-6)
    before = values(ours)
    for sharded in (ours, theirs):
        train(sharded, given)
    assert (np.abs(values(theirs) - before).max(axis=1) > 1e-3).sum() > IDS // 2
    np.testing.assert_allclose(values(ours), values(theirs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("pooling", [PoolingType.SUM, PoolingType.MEAN])
@pytest.mark.parametrize("train", WAYS)
def test_it_learns_what_torchrecs_own_learns(
    train: Train, pooling: PoolingType, optimizer: type[torch.optim.Optimizer]
) -> None:
    compare(train, pooling, optimizer)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("train", WAYS)
def test_histories_learn_what_torchrecs_own_learn(train: Train, optimizer: type[torch.optim.Optimizer]) -> None:
    compared(train, histories(64 * IDS, optimizer), judge_of_histories(optimizer))


def members(rank: int, world: int, folder: Path) -> None:
    for train in WAYS:
        compared(train, histories(64 * IDS), judge_of_histories(RowWiseAdagrad), rank)
        compare(train, PoolingType.MEAN, RowWiseAdagrad, rank)


def test_two_processes_learn_what_torchrecs_own_learn(tmp_path: Path) -> None:
    run(2, members, tmp_path)


def test_a_second_backward_without_its_graph_is_pytorchs_error() -> None:
    ours = model({"t": 64})
    set_time(ours, 0)
    for sharded in (ours, judge(PoolingType.SUM, RowWiseAdagrad)):
        pooled = sharded(bags(t=[[1], [2]])).values()
        pooled.sum().backward()
        learned = sharded(bags(t=[[1], [2]])).values().detach().clone()
        with pytest.raises(RuntimeError, match="second time"):
            pooled.sum().backward()
        np.testing.assert_array_equal(sharded(bags(t=[[1], [2]])).values().detach(), learned)
