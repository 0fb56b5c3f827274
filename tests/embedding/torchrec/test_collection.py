"""The drop-in collection in a TorchRec model of one process."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.optim import _apply_optimizer_in_backward as apply_optimizer  # type: ignore[attr-defined]
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, PoolingType
from torchrec.datasets.utils import Batch
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist
from torchrec.models.dlrm import DLRM, DLRMTrain
from torchrec.modules.embedding_configs import DataType
from torchrec.optim import RowWiseAdagrad

from embedding.sharding import HashBuckets
from embedding.store import Admission
from embedding.torchrec.collection import CollisionFreeEmbeddingBagCollection, counters, expire, set_time
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sharded_store.sharded_model import shard
from tests.contracts.embedding_store import ADVERSARIAL, DAY
from tests.embedding.torchrec.models import CPU, DIM, LR, bags, fresh, model, read

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_bags_pool_the_rows_of_their_ids() -> None:
    sharded = model({"t": 64, "u": 64})
    set_time(sharded, 0)
    pooled = sharded(bags(t=[[2**64 - 1, 5], [], [5]], u=[[1], [1, 1], []])).values().detach().numpy()
    t, u = fresh(2**64 - 1, 5), fresh(1, table="u")[0]
    np.testing.assert_allclose(pooled[:, :DIM], [t[0] + t[1], 0 * t[0], t[1]], atol=1e-7)
    np.testing.assert_allclose(pooled[:, DIM:], [u, 2 * u, 0 * u], atol=1e-7)


def test_a_step_is_row_wise_adagrad_on_summed_gradients() -> None:
    sharded = model({"t": 64})
    set_time(sharded, 0)
    sharded(bags(t=[[1, 2], [1]])).values().backward(torch.tensor([[1.0] * DIM, [2.0] * DIM]))
    for key, gradient in ((1, 3.0), (2, 1.0)):
        step = LR * gradient / (np.sqrt(gradient**2) + 1e-8)
        np.testing.assert_allclose(read(sharded, key), fresh(key) - step, atol=1e-6)


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_no_two_live_ids_share_a_row(kind: str) -> None:
    sharded = model({"t": 512}, return_rows=True, buckets=4)
    set_time(sharded, 0)
    _, rows = sharded(bags(t=[[key] for key in ADVERSARIAL[kind].tolist()]))
    assert len(set(rows.values().tolist())) == len(ADVERSARIAL[kind]) == counters(sharded, "t")["live"]


def test_ids_expire_by_event_time_and_their_rows_begin_anew() -> None:
    sharded = model({"t": 8, "f": 8}, ttl={"t": DAY}, buckets=1)
    set_time(sharded, 0)
    sharded(bags(t=[[key] for key in range(8)], f=[[1]] * 8)).values().sum().backward()
    assert expire(sharded, 2 * DAY) == 8
    set_time(sharded, 2 * DAY)
    np.testing.assert_array_equal(
        sharded(bags(t=[[100], [101]], f=[[1]] * 2)).values()[:, :DIM].detach(), fresh(100, 101)
    )
    assert counters(sharded, "t")["expired"] == 8
    assert counters(sharded, "f")["live"] == 1


def test_at_the_bound_the_coldest_go_and_the_batchs_own_stay() -> None:
    sharded = model({"t": 4}, buckets=1)
    set_time(sharded, 0)
    sharded(bags(t=[[1, 2, 3, 4]]))
    set_time(sharded, DAY)
    sharded(bags(t=[[2, 3, 5]]))
    live = [bool(row.any()) for row in read(sharded, 1, 2, 3, 4, 5)]
    assert live == [False, True, True, True, True] or live == [True, True, True, False, True]
    assert counters(sharded, "t")["evicted"] == 1


def test_the_default_buckets_fill_every_row_before_one_is_refused_or_evicted() -> None:
    sharded = model({"t": 1000})
    set_time(sharded, 0)
    sharded(bags(t=[[key] for key in range(1000)]))
    found = counters(sharded, "t")
    assert (found["live"], found["refused"], found["evicted"]) == (1000, 0, 0)
    for _ in range(5):
        sharded(bags(t=[[key] for key in range(970)]))
    assert counters(sharded, "t")["evicted"] == 0
    sharded(bags(t=[[5000]]))
    assert counters(sharded, "t")["evicted"] > 0


@pytest.mark.parametrize(("rows", "processes", "ids"), [(1000, 2, 731), (100_000, 4, 96_205)])
def test_as_many_ids_as_the_docs_say_fill_no_process(rows: int, processes: int, ids: int) -> None:
    assert ids == int(rows - 6 * math.sqrt(processes * rows))
    rng = np.random.default_rng(0)
    for _ in range(20):
        owners = HashBuckets(processes, 8).owner(rng.integers(0, 2**64, ids, np.uint64))
        assert np.bincount(owners).max() <= rows // processes


def test_ids_not_yet_admitted_leave_their_bag_and_learn_nothing() -> None:
    sharded = model({"t": 64}, admission=Admission("count", 2), return_rows=True)
    set_time(sharded, 0)
    pooled, rows = sharded(bags(t=[[1, 1, 2], [2], [3]]))
    assert (rows.values() >= 0).tolist() == [True, True, True, True, False]
    np.testing.assert_allclose(pooled.values()[0].detach(), 2 * fresh(1)[0] + fresh(2)[0], atol=1e-7)
    assert not pooled.values()[2].any()
    pooled.values().sum().backward()
    assert counters(sharded, "t")["unadmitted"] == 1


def test_evaluation_admits_nothing() -> None:
    sharded = model({"t": 64})
    assert not read(sharded, 1, 2).any()
    assert counters(sharded, "t")["live"] == 0


def test_mean_pooling_counts_what_the_bag_held() -> None:
    sharded = model({"t": 64}, PoolingType.MEAN)
    set_time(sharded, 0)
    pooled = sharded(bags(t=[[1, 2], [3]])).values().detach().numpy()
    np.testing.assert_allclose(pooled, [fresh(1, 2).mean(0), fresh(3)[0]], atol=1e-7)


def test_features_of_one_table_share_its_rows() -> None:
    sharded = model({"ab": 64, "c": 64}, buckets=4)
    set_time(sharded, 0)
    pooled = sharded(bags(a=[[1], [2, 3]], b=[[3], []], c=[[1], [1]])).to_dict()
    rows = fresh(1, 2, 3, table="ab")
    np.testing.assert_allclose(pooled["a"].detach(), [rows[0], rows[1] + rows[2]], atol=1e-7)
    np.testing.assert_allclose(pooled["b"].detach(), [rows[2], 0 * rows[2]], atol=1e-7)
    assert (counters(sharded, "ab")["live"], counters(sharded, "c")["live"]) == (3, 1)


def test_weights_of_ids_without_a_row_leave_with_them() -> None:
    sharded = model({"t": 64}, weighted=True, admission=Admission("count", 2))
    set_time(sharded, 0)
    plain = bags(t=[[1, 2, 1], [2]])
    ids = KeyedJaggedTensor(
        plain.keys(), plain.values(), weights=torch.tensor([1.0, 10.0, 2.0, 5.0]), lengths=plain.lengths()
    )
    sharded(ids)
    sharded(bags_of(ids, [3, 1, 1, 2]))
    pooled = sharded(bags_of(ids, [4, 1, 4, 2])).values().detach().numpy()  # 4 is seen twice now: admitted at once
    one, two, four = fresh(1, 2, 4)
    np.testing.assert_allclose(pooled, [four + 10 * one + 2 * four, 5 * two], atol=1e-6)
    pooled = sharded(bags_of(ids, [1, 9, 2, 4])).values().detach().numpy()
    np.testing.assert_allclose(pooled, [one + 2 * two, 5 * four], atol=1e-6)


def bags_of(features: KeyedJaggedTensor, ids: list[int]) -> KeyedJaggedTensor:
    """The same bags and weights with other ids."""
    return KeyedJaggedTensor(features.keys(), torch.tensor(ids), weights=features.weights(), lengths=features.lengths())


def test_gradients_reach_only_ids_that_are_still_there() -> None:
    sharded = model({"t": 2}, ttl=DAY, buckets=1)
    set_time(sharded, 0)
    late = sharded(bags(t=[[1], [1, 2]]))
    set_time(sharded, 2 * DAY)
    sharded(bags(t=[[7], [2]]))  # 1 and 2 expired before it; 2 came back
    late.values().sum().backward()
    np.testing.assert_array_equal(read(sharded, 7), fresh(7))
    np.testing.assert_allclose(read(sharded, 2), fresh(2) - LR, atol=1e-6)
    assert counters(sharded, "t")["stale"] == 2


def test_half_precision_rows_learn_and_begin_anew() -> None:
    sharded = model({"t": 8}, ttl=DAY, buckets=1, data_type=DataType.FP16)
    set_time(sharded, 0)
    sharded(bags(t=[[1], [2]])).values().sum().backward()
    np.testing.assert_allclose(read(sharded, 1, 2), fresh(1, 2) - LR, atol=1e-3)
    assert expire(sharded, 3 * DAY) == 2
    set_time(sharded, 3 * DAY)
    pooled = sharded(bags(t=[[key] for key in range(10, 18)])).values().detach().numpy()
    np.testing.assert_allclose(pooled, fresh(*range(10, 18)), atol=1e-5)


def test_plain_sgd_keeps_no_state() -> None:
    sharded = model({"t": 8}, optimizer=torch.optim.SGD)
    set_time(sharded, 0)
    sharded(bags(t=[[1], [1]])).values().sum().backward()
    np.testing.assert_allclose(read(sharded, 1), fresh(1) - 2 * LR, atol=1e-6)


def test_it_serves_torchrecs_dlrm_and_its_pipeline() -> None:
    tables = [
        EmbeddingBagConfig(name=name, embedding_dim=8, num_embeddings=64, feature_names=[name]) for name in ("t", "u")
    ]
    plain = EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
    apply_optimizer(RowWiseAdagrad, plain.parameters(), {"lr": 0.1})
    sparse = CollisionFreeEmbeddingBagCollection(plain)
    layers = {"dense_arch_layer_sizes": [8, 8], "over_arch_layer_sizes": [8, 1]}
    sharded = shard(DLRMTrain(DLRM(sparse, dense_in_features=3, **layers)), Ranks(None, CPU).group, CPU)
    dense = torch.optim.SGD([p for name, p in sharded.named_parameters() if "embedding" not in name], lr=0.1)
    set_time(sharded, 0)
    pipeline = TrainPipelineSparseDist(sharded, dense, CPU)
    batches = iter([Batch(torch.rand(2, 3), bags(t=[[n], [0]], u=[[n], [n]]), torch.tensor([0, 1])) for n in range(5)])
    losses = [pipeline.progress(batches)[0].item() for _ in range(5)]
    with pytest.raises(StopIteration):
        pipeline.progress(batches)
    assert np.isfinite(losses).all()
    assert (counters(sharded, "t")["live"], counters(sharded, "u")["live"]) == (5, 5)


def example(name: str) -> Any:
    """A module of the folder of examples."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:HeuristicalStorageReservation:FutureWarning")  # of TorchRec's default planner
def test_the_example_learns_more_from_ids_of_their_own() -> None:
    drop_in = example("torchrec_drop_in")
    shared, own = drop_in.learn(collision_free=False, limit=30_000), drop_in.learn(collision_free=True, limit=30_000)
    assert own["log loss"] < shared["log loss"]
    assert own["live"] <= drop_in.ROWS["film"]
    assert own["admitted"] == own["live"] + own["expired"] + own["evicted"]
    assert own["refused"] == own["stale"] == 0


@pytest.mark.filterwarnings("ignore:HeuristicalStorageReservation:FutureWarning")
def test_torchrecs_dlrm_learns_with_five_lines_changed() -> None:
    losses, trained = example("dlrm").learn(80)
    assert np.mean(losses[-30:]) < 0.95 * np.mean(losses[:10])
    seen = counters(trained, "item")
    assert seen["admitted"] == seen["live"] + seen["evicted"] > 1024 >= seen["live"]  # more items than rows
    assert counters(trained, "context")["live"] == 50
    source = (EXAMPLES / "dlrm.py").read_text(encoding="utf-8")
    assert sum(line.endswith("# +") for line in source.splitlines()) <= 5
