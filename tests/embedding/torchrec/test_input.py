"""What the drop-in collection takes, and what it refuses before anything changes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, EmbeddingCollection, EmbeddingConfig, KeyedJaggedTensor
from torchrec.modules.embedding_configs import DataType

from embedding.torchrec.collection import CollisionFreeEmbeddingBagCollection, counters, expire, set_time
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sequences import CollisionFreeEmbeddingCollection
from embedding.torchrec.sharded_store.sharded_model import shard
from recsys.errors import InvalidValueError
from tests.embedding.torchrec.models import CPU, DIM, LR, Sparse, bags, collection, fresh, model, read

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (bags(a=[[1]], z=[[2]]), "features b are missing, the batch has a, z"),
        (bags(a=[[1]]), "features b are missing"),
        (bags(b=[[1]], a=[[2]]), "in the first batch they were a, b"),
        (
            KeyedJaggedTensor(["a", "b"], torch.tensor([1.5, 2.0]), lengths=torch.tensor([1, 1])),
            "ids are torch.float32",
        ),
        (
            KeyedJaggedTensor(["a", "b"], torch.tensor([True, False]), lengths=torch.tensor([1, 1])),
            "ids are torch.bool",
        ),
    ],
)
def test_a_batch_that_cannot_be_meant_is_refused_before_anything_changes(
    batch: KeyedJaggedTensor, message: str
) -> None:
    sharded = model({"ab": 64})
    set_time(sharded, 0)
    sharded(bags(a=[[1]], b=[[2]])).values().sum().backward()
    before = counters(sharded, "ab")
    with pytest.raises(InvalidValueError, match=message):
        sharded(batch)
    assert counters(sharded, "ab") == before


def test_batches_may_be_empty_of_one_id_and_of_any_integers() -> None:
    sharded = model({"t": 64})
    set_time(sharded, 0)
    assert sharded(bags(t=[])).values().shape == (0, DIM)
    assert not sharded(bags(t=[[], []])).values().any()
    sharded(bags(t=[[5] * 10**6])).values().sum().backward()
    np.testing.assert_allclose(read(sharded, 5), fresh(5) - LR, atol=1e-6)
    for kind in (torch.int32, torch.uint64):
        ids = KeyedJaggedTensor(["t"], torch.tensor([5], dtype=kind), lengths=torch.tensor([1]))
        np.testing.assert_allclose(sharded(ids).values().detach(), fresh(5) - LR, atol=1e-6)
    assert counters(sharded, "t")["live"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ttl": -1}, "ttl is -1"),
        ({"ttl": {"tt": 1}}, "ttl: unknown tables tt, the collection has t"),
        ({"buckets": 0}, "buckets is 0"),
        ({"buckets": "8"}, "buckets is '8', write a Python int"),
        ({"seed": 1.5}, "seed is 1.5, write a Python int"),
        ({"init_scale": "1"}, "table 't': init_scale is '1', write a finite Python float"),
        ({"data_type": DataType.INT8}, "training takes FP32 or FP16"),
        ({"tables": {"t": 3}}, "tables is {'t': 3}, write a Table for each of t, by name"),
    ],
)
def test_settings_that_cannot_work_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        collection({"t": 16}, **arguments)


def test_what_cannot_work_is_refused() -> None:
    for use in (set_time, expire):
        with pytest.raises(InvalidValueError, match="1970"):
            use(model({"t": 16}), -1)
    with pytest.raises(InvalidValueError, match="nope"):
        counters(model({"t": 16}), "nope")
    with pytest.raises(InvalidValueError, match="choose 16"):
        collection({"t": 10})
    with pytest.raises(InvalidValueError, match="shard the model first"):
        collection({"t": 16})(bags(t=[[1]]))
    with pytest.raises(InvalidValueError, match="set_time"):
        model({"t": 16})(bags(t=[[1]]))


def plain(**arguments: Any) -> EmbeddingBagCollection:
    """One table as a user writes it, on the CPU."""
    table = EmbeddingBagConfig(name="t", embedding_dim=DIM, num_embeddings=64, feature_names=["t"], **arguments)
    return EmbeddingBagCollection(tables=[table])


@pytest.mark.parametrize(("arguments", "largest"), [({}, 1 / 8), ({"weight_init_min": -3, "weight_init_max": 3}, 3)])
def test_rows_begin_in_the_range_of_the_collection(arguments: dict[str, float], largest: float) -> None:
    sharded = shard(Sparse(CollisionFreeEmbeddingBagCollection(plain(**arguments))), Ranks(None, CPU).group, CPU)
    set_time(sharded, 0)
    rows = sharded(bags(t=[[key] for key in range(32)])).values().detach().numpy()
    assert 0.9 * largest < np.abs(rows).max() <= largest


def trained_a_little() -> EmbeddingBagCollection:
    collection = plain()
    optimizer = torch.optim.SGD(collection.parameters(), lr=1e-6)
    collection(bags(t=[[1]])).values().sum().backward()
    optimizer.step()
    return collection


def restored() -> EmbeddingBagCollection:
    collection = plain()
    collection.load_state_dict(plain().state_dict())
    return collection


def copied() -> EmbeddingBagCollection:
    """A copy does not tell how often its weights were changed, but these cannot be new."""
    collection = plain()
    with torch.no_grad():
        collection.embedding_bags["t"].weight += 1
    return copy.deepcopy(collection)


@pytest.mark.parametrize("make", [trained_a_little, restored, copied])
def test_weights_that_would_be_lost_are_refused(make: Any) -> None:
    with pytest.raises(InvalidValueError, match="'t': its weights were trained or loaded"):
        CollisionFreeEmbeddingBagCollection(make())
    CollisionFreeEmbeddingBagCollection(make(), init_scale=0.1)


@pytest.mark.parametrize(
    "arguments", [{"init_fn": torch.nn.init.zeros_}, {"weight_init_min": 0.0, "weight_init_max": 1.0}]
)
def test_other_initial_values_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match="give init_scale=x"):
        CollisionFreeEmbeddingBagCollection(plain(**arguments))
    CollisionFreeEmbeddingBagCollection(plain(**arguments), init_scale=0.1)


def test_optimizers_and_precisions_that_the_kernels_lack_are_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"t.weight: .* have no Adam, choose SGD, Adagrad, RowWiseAdagrad"):
        model({"t": 64}, optimizer=torch.optim.Adam)
    with pytest.raises(InvalidValueError, match="rows are BF16, training takes FP32 or FP16"):
        model({"t": 64}, data_type=DataType.BF16)


def test_a_collection_of_the_other_kind_is_refused_by_the_name_that_takes_it() -> None:
    table = EmbeddingConfig(name="t", embedding_dim=DIM, num_embeddings=64, feature_names=["t"])
    with pytest.raises(InvalidValueError, match="CollisionFreeEmbeddingCollection takes an EmbeddingCollection"):
        CollisionFreeEmbeddingBagCollection(EmbeddingCollection(tables=[table]))
    with pytest.raises(InvalidValueError, match="CollisionFreeEmbeddingBagCollection takes bags"):
        CollisionFreeEmbeddingCollection(plain())


@pytest.mark.parametrize("call", [set_time, expire, lambda model, _: counters(model, "t")])
def test_a_model_that_is_not_sharded_yet_is_told_so(call: Any) -> None:
    with pytest.raises(InvalidValueError, match="after model = DistributedModelParallel"):
        call(Sparse(collection({"t": 16})), 0)


@pytest.mark.parametrize("call", [set_time, expire, lambda model, _: counters(model, "t")])
def test_what_is_no_model_is_told_what_to_write(call: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"the model is 3, write what DistributedModelParallel"):
        call(3, 0)


def test_two_collections_with_a_table_of_one_name_are_refused() -> None:
    pair = torch.nn.ModuleDict({"one": collection({"t": 16}), "other": collection({"tu": 16, "t": 16})})
    sharded = shard(pair, Ranks(None, CPU).group, CPU)
    for call in (lambda: set_time(sharded, 0), lambda: counters(sharded, "t")):
        with pytest.raises(InvalidValueError, match="two collections have a table 't'"):
            call()


@pytest.mark.parametrize("what", ["embedding_dim", "num_embeddings"])
def test_sizes_that_torchrec_cannot_shard_are_refused(what: str) -> None:
    sizes = {"embedding_dim": DIM, "num_embeddings": 64}
    table = EmbeddingBagConfig(name="t", feature_names=["t"], **sizes | {what: np.int64(sizes[what])})
    with pytest.raises(InvalidValueError, match=rf"'t': {what} is .*, write a Python int"):
        CollisionFreeEmbeddingBagCollection(EmbeddingBagCollection(tables=[table], device=torch.device("meta")))
