"""torch.compile beside the drop-in: of the dense part, and of the whole model, where the collection stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchrec import KeyedJaggedTensor

from embedding.torchrec.collection import counters, set_time
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sharded_store.sharded_model import shard
from tests.embedding.torchrec.models import CPU, DIM, bags, collection

pytestmark = pytest.mark.slow


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.sparse = collection({"t": 64})
        self.dense = nn.Sequential(nn.Linear(DIM, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, ids: KeyedJaggedTensor) -> Any:
        return self.dense(self.sparse(ids).values())


def as_it_is(sharded: Any) -> Any:
    return sharded


def its_dense_part(sharded: Any) -> Any:
    sharded.module.dense.compile(backend="aot_eager")  # inductor needs a C++ compiler
    return sharded


def all_of_it(sharded: Any) -> Any:
    return torch.compile(sharded, backend="aot_eager")


def losses(how: Any) -> list[float]:
    sharded = shard(Net(), Ranks(None, CPU).group, CPU)
    set_time(sharded, 0)
    call, dense = how(sharded), torch.optim.SGD(sharded.module.dense.parameters(), lr=0.1)
    found = []
    for step in range(4):
        loss = call(bags(t=[[1, step], [3], [4 + step]])).square().sum()
        dense.zero_grad()
        loss.backward()
        dense.step()
        found.append(loss.item())
    assert counters(sharded, "t")["live"] == 8
    return found


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler looks for it
@pytest.mark.parametrize("how", [its_dense_part, all_of_it])
def test_compiled_it_learns_the_same(how: Any) -> None:
    torch.testing.assert_close(losses(how), losses(as_it_is), rtol=1e-5, atol=1e-6)
