"""What the drop-in collection takes, and what it refuses before anything changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchrec import KeyedJaggedTensor
from torchrec.modules.embedding_configs import DataType

from embedding.torchrec.collection import counters, expire, set_time
from recsys.errors import InvalidValueError
from tests.embedding.torchrec.models import DIM, LR, bags, collection, fresh, model, read


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
        ({"data_type": DataType.INT8}, "training takes FP32 or FP16"),
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
    plain = collection({"t": 16})
    with pytest.raises(InvalidValueError, match="shard the model first"):
        plain(bags(t=[[1]]))
    with pytest.raises(InvalidValueError, match="set_time"):
        model({"t": 16})(bags(t=[[1]]))
