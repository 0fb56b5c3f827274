"""Checkpoints of other sizes, and of TorchRec's own collections, taken over by the drop-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint.state_dict_loader import load as load_checkpoint
from torch.distributed.checkpoint.state_dict_saver import save as save_checkpoint
from torchrec import PoolingType
from torchrec.optim import RowWiseAdagrad

from embedding.torchrec.checkpoints.taken_over import empty_state, take_over
from embedding.torchrec.collection import counters, expire, set_time
from recsys.errors import CheckpointError, InvalidValueError
from tests.contracts.embedding_store import DAY
from tests.embedding.torchrec.models import bags, model, read
from tests.embedding.torchrec.processes import run
from tests.embedding.torchrec.test_judged import IDS, OPTIMIZERS, batches, judge, step_by_step, values

pytestmark = pytest.mark.slow

IDS_40 = [key << 50 for key in range(40)]


def made(rows: int, day: int = 0, **arguments: Any) -> Any:
    sharded = model({"t": rows}, ttl=9 * DAY, **arguments)
    set_time(sharded, day * DAY)
    return sharded


def learned(sharded: Any, ids: list[int]) -> Any:
    sharded(bags(t=[[key] for key in ids])).values().sum().backward()
    return sharded


def over(taker: Any, giver: Any) -> Any:
    take_over(taker, giver.state_dict(), giver.fused_optimizer.state_dict())
    return taker


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("rows", "buckets"), [(128, 8), (40, 4), (64, 1)])
def test_more_or_fewer_rows_read_and_learn_alike(optimizer: Any, rows: int, buckets: int) -> None:
    giver = learned(made(64, optimizer=optimizer), IDS_40)
    taker = over(learned(made(rows, buckets=buckets, optimizer=optimizer), [1, 2, 3]), giver)
    np.testing.assert_array_equal(read(taker, *IDS_40, 1, 2), read(giver, *IDS_40, 1, 2))
    for sharded in (giver, taker):
        learned(sharded, [*IDS_40[:20], 7] if rows > 40 else IDS_40[:20])
    np.testing.assert_array_equal(read(taker, *IDS_40, 7), read(giver, *IDS_40, 7))
    assert expire(taker, 20 * DAY) == expire(giver, 20 * DAY)  # the clocks came with them


def test_live_ids_that_do_not_fit_are_refused_before_anything_changes() -> None:
    giver, taker = learned(made(64), IDS_40), learned(made(32), [1, 2])
    before = read(taker, 1, 2, *IDS_40)
    with pytest.raises(CheckpointError, match=r"owns 40 live ids .* has 32 rows: .*num_embeddings of at least 40"):
        over(taker, giver)
    np.testing.assert_array_equal(read(taker, 1, 2, *IDS_40), before)


def test_the_full_table_evicts_by_the_clocks_it_took_over() -> None:
    giver = learned(made(40, buckets=1), IDS_40[:20])
    set_time(giver, DAY)
    taker = over(made(40, day=2), learned(giver, IDS_40[20:]))
    learned(taker, [5, 6, 7])
    assert read(taker, *IDS_40[20:], 5, 6, 7).any(1).all()
    assert counters(taker, "t")["evicted"] == 3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_plain_collections_rows_are_those_of_its_ids_and_learn_on_as_in_torchrecs_own(optimizer: Any) -> None:
    plain = judge(PoolingType.SUM, optimizer)
    step_by_step(plain, batches())
    taker = over(made(64, day=3, optimizer=optimizer), plain)
    np.testing.assert_array_equal(values(taker), values(plain))
    for sharded in (taker, plain):
        step_by_step(sharded, batches(rank=1))
    np.testing.assert_allclose(values(taker), values(plain), rtol=1e-5, atol=1e-6)
    learned(taker, [2**63])
    assert counters(taker, "t")["live"] == IDS + 1
    assert expire(taker, 13 * DAY) == IDS + 1


def test_weights_alone_begin_with_an_empty_optimizer_state() -> None:
    rows = torch.linspace(-1, 1, 40).view(10, 4)
    taker = learned(made(16), [3])
    take_over(taker, {"embedding_bags.t.weight": rows})  # of a collection that was never sharded
    np.testing.assert_array_equal(read(taker, *range(11)), torch.cat([rows, torch.zeros(1, 4)]))
    learned(taker, [3])
    np.testing.assert_allclose(read(taker, 3), rows[3:4] - 0.5, atol=1e-6)  # the first step of Adagrad


@pytest.mark.parametrize(
    ("state", "optimizer", "message"),
    [
        ({"embedding_bags.u.weight": torch.zeros(8, 4)}, {}, "no table 't'"),
        ({"embedding_bags.t.weight": torch.zeros(8, 6)}, {}, r"weight of a row is \[6\] .* \[4\] here"),
        (
            {"embedding_bags.t.weight": torch.zeros(8, 4)},
            {"embedding_bags.t.weight": {"t.momentum1": torch.zeros(8, 4)}},
            r"momentum1 of a row is \[4\] .* \[\] here",
        ),
        (
            {"embedding_bags.t.weight": torch.zeros(8, 4)},
            {"embedding_bags.t.weight": {"t.momentum1": torch.zeros(9)}},
            "momentum1 has 9 rows where weight has 8",
        ),
        ({"embedding_bags.t.weight": torch.zeros(8, 4)}, {"embedding_bags.t.weight": {}}, "optimizer has no momentum1"),
        ({"embedding_bags.t.weight": torch.zeros(8, 4), "bias": torch.zeros(1)}, {}, "only in one of .*: bias"),
        (
            {"a.embedding_bags.t.weight": torch.zeros(8, 4), "b.embedding_bags.t.weight": torch.zeros(8, 4)},
            {},
            "one table twice",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(state: Any, optimizer: Any, message: str) -> None:
    taker = learned(made(16), [3])
    before = read(taker, 3)
    with pytest.raises(CheckpointError, match=message):
        take_over(taker, state, optimizer)
    np.testing.assert_array_equal(read(taker, 3), before)


def test_what_is_no_state_and_no_number_of_rows_is_told_what_to_write() -> None:
    taker = made(16)
    for wrong, message in (
        (lambda: take_over(taker, None), "state is None, write what its state_dict"),  # type: ignore[arg-type]
        (lambda: take_over(taker, {}, 3), "optimizer is 3, write what its state_dict"),  # type: ignore[arg-type]
        (lambda: empty_state(taker, 9), "rows is 9, write them by table"),  # type: ignore[arg-type]
        (lambda: empty_state(taker, {"t": "9"}), "table 't': rows is '9'"),  # type: ignore[dict-item]
        (lambda: empty_state(taker, {"t": 0}), "table 't': rows is 0"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            wrong()


def test_a_plain_collection_needs_the_time() -> None:
    with pytest.raises(InvalidValueError, match="set_time"):
        take_over(model({"t": 16}), {"embedding_bags.t.weight": torch.zeros(8, 4)})


def members(rank: int, world: int, folder: Path) -> None:
    giver, taker = made(64, optimizer=RowWiseAdagrad), made(128)
    saved = empty_state(taker, {"t": 64})
    load_checkpoint(saved, checkpoint_id=folder / "one")
    take_over(taker, saved["model"], saved["optimizer"])
    expected = np.load(folder / "rows.npy")
    np.testing.assert_array_equal(read(taker, *IDS_40), expected)
    with pytest.raises(CheckpointError, match="live ids"):
        take_over(made(32), saved["model"], saved["optimizer"])
    over(taker, learned(giver, IDS_40[rank::world]))
    np.testing.assert_array_equal(read(taker, *IDS_40), read(giver, *IDS_40))
    save_checkpoint({"model": taker.state_dict()}, checkpoint_id=folder / "two")
    if rank == 0:
        np.save(folder / "two.npy", read(giver, *IDS_40))
    else:
        read(giver, *IDS_40)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's, of the sharded tensors that TorchRec saves
def test_from_one_process_to_two_with_more_rows_and_back_with_fewer(tmp_path: Path) -> None:
    giver = learned(made(64), IDS_40)
    state = {"model": giver.state_dict(), "optimizer": giver.fused_optimizer.state_dict()}
    save_checkpoint(state, checkpoint_id=tmp_path / "one")
    np.save(tmp_path / "rows.npy", read(giver, *IDS_40))
    run(2, members, tmp_path)
    taker = made(48)
    saved = {"model": empty_state(taker, {"t": 128})["model"]}
    load_checkpoint(saved, checkpoint_id=tmp_path / "two")
    take_over(taker, saved["model"])
    np.testing.assert_array_equal(read(taker, *IDS_40), np.load(tmp_path / "two.npy"))
