"""Collections to read only: as the model reads in evaluation mode, traced, exported and quantized."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchrec import KeyedJaggedTensor, PoolingType
from torchrec.fx import Tracer
from torchrec.inference.modules import quantize_embeddings

from embedding.torchrec.collection import set_time
from embedding.torchrec.frozen import FrozenEmbeddingBagCollection, FrozenIndex, frozen
from recsys.errors import InvalidValueError
from tests.embedding.torchrec.models import DIM, bags, model
from tests.embedding.torchrec.processes import run

pytestmark = pytest.mark.slow

UNKNOWN = [99, 77, 2**63 - 1]
ASKED = bags(a=[[1, 2, 99], [3], []], b=[[5], [], [77]], c=[[2**64 - 1, 1, 2**63 - 1], [4], []])


def trained(pooling: PoolingType = PoolingType.SUM, **options: Any) -> Any:
    sharded = model({"ab": 64, "c": 64}, pooling, **options)
    set_time(sharded, 0)
    pooled = sharded(bags(a=[[1, 2], [3]], b=[[5], []], c=[[2**64 - 1, 1], [4]]))
    (pooled.values() * torch.linspace(-1, 2, pooled.values().numel()).view_as(pooled.values())).sum().backward()
    return sharded.eval()


@pytest.fixture(scope="module")
def still() -> FrozenEmbeddingBagCollection:
    return frozen(trained().module.sparse)


def read(module: Any, asked: KeyedJaggedTensor = ASKED) -> np.ndarray:
    with torch.no_grad():
        values: np.ndarray = module(asked).values().numpy()
    return values


@pytest.mark.parametrize("pooling", [PoolingType.SUM, PoolingType.MEAN])
def test_it_reads_what_the_model_reads_in_evaluation_mode(pooling: PoolingType) -> None:
    sharded = trained(pooling)
    np.testing.assert_allclose(read(frozen(sharded.module.sparse)), read(sharded), atol=1e-6)
    assert np.abs(read(sharded)).max() > 0.1


def test_a_whole_model_is_told_what_to_write() -> None:
    with pytest.raises(InvalidValueError, match=r"DistributedModelParallel is no .*: write frozen\(collections\(model"):
        frozen(model({"a": 64}))


def test_features_may_be_in_another_order_and_weighted() -> None:
    sharded = model({"ab": 64}, weighted=True)
    set_time(sharded, 0)
    ids, weights = torch.tensor([1, 2, 1, 9]), torch.tensor([0.5, 2.0, 3.0, 4.0])
    sharded(KeyedJaggedTensor(["a", "b"], ids[:3], weights=weights[:3], lengths=torch.tensor([2, 1])))
    asked = KeyedJaggedTensor(["b", "x", "a"], ids, weights=weights, lengths=torch.tensor([2, 1, 1]))
    given = KeyedJaggedTensor(["a", "b"], ids[[3, 0, 1]], weights=weights[[3, 0, 1]], lengths=torch.tensor([1, 2]))
    np.testing.assert_allclose(read(frozen(sharded.module.sparse), asked), read(sharded.eval(), given), atol=1e-6)


def test_an_unknown_id_reads_the_fallback(still: FrozenEmbeddingBagCollection) -> None:
    other = copy.deepcopy(still)
    other.bags.embedding_bags["c"].weight[-1] = 7.0
    pooled = other(bags(a=[[]] * 3, b=[[]] * 3, c=[[key] for key in UNKNOWN]))["c"]
    assert (pooled == 7).all()


def test_it_is_traced(still: FrozenEmbeddingBagCollection) -> None:
    other = bags(a=[[1], [2, 2]], b=[[], [5]], c=[[4], [8]])
    for tracer in (Tracer(), torch.fx.Tracer()):
        traced = torch.fx.GraphModule(still, tracer.trace(still))
        np.testing.assert_array_equal(read(traced, other), read(still, other))


@pytest.mark.filterwarnings("ignore:torch.ao.quantization:DeprecationWarning")  # TorchRec uses it
def test_it_is_quantized_by_torchrec(still: FrozenEmbeddingBagCollection) -> None:
    small = quantize_embeddings(nn.Sequential(copy.deepcopy(still)), torch.qint8, inplace=True)
    assert "quant" in type(small[0].bags).__module__
    np.testing.assert_allclose(read(small), read(still), atol=5e-3)


class Scores(nn.Module):
    """What is exported: tensors in, tensors out."""

    def __init__(self, still: FrozenEmbeddingBagCollection) -> None:
        super().__init__()
        self.index = still.index["c"]
        self.rows = nn.Embedding.from_pretrained(still.bags.embedding_bags["c"].weight)  # type: ignore[no-untyped-call]

    def forward(self, ids_BL: torch.Tensor) -> torch.Tensor:
        pooled_BD: torch.Tensor = self.rows(self.index(ids_BL)).sum(1)
        return pooled_BD


def test_torch_export_takes_ids_of_any_number(still: FrozenEmbeddingBagCollection, tmp_path: Path) -> None:
    scores = Scores(still)
    shapes = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("longest")},)
    program = torch.export.export(scores, (torch.tensor([[1, 4, 9], [4, 4, 4]]),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "scores.pt2")
    exported = torch.export.load(tmp_path / "scores.pt2").module()
    asked = bags(a=[[]] * 3, b=[[]] * 3, c=[[2**64 - 1, 1], [4], [9]])
    padded = torch.tensor([[-1, 1], [4, 0], [9, 0]])  # 0 is no id: it reads the fallback
    torch.testing.assert_close(exported(padded), still(asked)["c"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("ids", [[], [0], [2**63 - 1], [-1, 2**63 - 1, 0, -(2**63)]])
def test_every_id_has_its_own_row_and_others_the_one_after(ids: list[int]) -> None:
    index = FrozenIndex(torch.tensor(ids, dtype=torch.int64))
    assert index(torch.tensor(ids, dtype=torch.int64)).tolist() == list(range(len(ids)))
    others = [key for key in (-(2**63), -1, 0, 5, 2**63 - 1) if key not in ids]
    assert set(index(torch.tensor(others)).tolist()) == {len(ids)}


def members(rank: int, world: int, folder: Path) -> None:
    sharded = trained()
    np.testing.assert_allclose(read(frozen(sharded.module.sparse)), read(sharded), atol=1e-6)
    assert len(frozen(sharded.module.sparse).bags.embedding_bags["ab"].weight) == 5
    assert sharded.module.sparse.configs[0].embedding_dim == DIM


def test_rows_of_all_processes_are_in_each(tmp_path: Path) -> None:
    run(2, members, tmp_path)
