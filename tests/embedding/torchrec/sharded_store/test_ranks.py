"""Several processes train one store: as one process does, and a checkpoint moves between any numbers of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint.state_dict_loader import load as load_checkpoint
from torch.distributed.checkpoint.state_dict_saver import save as save_checkpoint

from embedding.local.store import LocalStore
from embedding.sharding import HashBuckets
from embedding.snapshot.format import load
from embedding.snapshot.store_state import digest
from embedding.store import Admission, EmbeddingStore, Ids, Optimizer, Table
from embedding.torchrec.collection import collections, counters, expire, set_time
from embedding.torchrec.processes.ranks import Ranks
from embedding.torchrec.sharded_store.store import TorchRecStore
from tests.contracts.embedding_store import ADVERSARIAL, DAY
from tests.embedding.torchrec import models
from tests.embedding.torchrec.processes import run

pytestmark = pytest.mark.slow

SEED = 3
FULL = range(100, 164)
"""Ids that two processes own in unequal parts."""
FULL_IDS = np.array(FULL, np.uint64)
TABLES = (
    Table("rowwise", 6, capacity=500, ttl=3 * DAY, optimizer=Optimizer(lr=0.1)),
    Table("adagrad", 4, capacity=500, optimizer=Optimizer("adagrad", lr=0.1)),
    Table("shared", 8, capacity=500, admission=Admission("count", 3), fallback="multiplexed"),
)


def batch(step: int, dim: int) -> tuple[Ids, np.ndarray]:
    """Ids and gradients of a step, the same whoever asks. In step 2 one process spoils the gradient of another's id."""
    rng = np.random.default_rng(step)
    ids = rng.integers(0, 60, 48).astype(np.uint64) << np.uint64(33)
    grads = rng.standard_normal((48, dim)).astype(np.float32)
    if step == 2:
        ids[1], grads[0, 0] = ids[0], np.nan
    return ids, grads


def train(store: EmbeddingStore, steps: range, rank: int, world: int) -> None:
    for step in steps:
        for name, table in store.tables.items():
            ids, grads = batch(step, table.dim)
            at = slice(rank, None, world) if step % 5 else slice(0, None if rank == 0 else 0)  # now and then unequal
            store.update(store.lookup(name, ids[at], step * DAY // 4), grads[at])
        store.expire(step * DAY // 4)


def ten_cycles_at_full_capacity(store: EmbeddingStore, rank: int, world: int) -> None:
    ranks = Ranks(None, torch.device("cpu"))
    total = 0
    for cycle in range(10):
        base = list(ADVERSARIAL.values())[cycle % len(ADVERSARIAL)] ^ np.uint64(cycle << 20)
        now = cycle * 10 * DAY
        found = store.lookup("full", base[rank::world], now)
        store.update(found, np.ones_like(found.values_ND))
        rows = ranks.together(found.rows_N)
        assert rows.min() >= 0
        assert len(np.unique(rows)) == len(base)
        after = store.peek("full", base[rank::world]).values_ND
        np.testing.assert_allclose(after, found.values_ND - 0.1, atol=1e-6)
        assert store.counters("full")["live"] == len(base)
        total += len(base)
        assert store.expire(now + 2 * DAY) == len(base)
        assert (store.peek("full", base).rows_N == -1).all()
    counters = store.counters("full")
    assert (counters["live"], counters["admitted"], counters["expired"]) == (0, total, total)
    assert (counters["evicted"], counters["refused"], counters["stale"]) == (0, 0, 0)


def member(rank: int, world: int, folder: Path) -> None:
    store = TorchRecStore(TABLES, SEED)
    train(store, range(15), rank, world)
    store.save(folder / f"by-{world}")
    with pytest.raises(OSError, match="digest"):
        store.save(folder / "digest" / "is a file")
    store.load(folder / "begun")
    assert store.digest() == (folder / "digest").read_text()
    tell_alike(store, folder, rank, world)
    full = Table("full", 4, capacity=64, ttl=DAY, optimizer=Optimizer("adagrad", lr=0.1))
    ten_cycles_at_full_capacity(TorchRecStore([full]), rank, world)


def tell_alike(store: EmbeddingStore, folder: Path, rank: int, world: int) -> None:
    """What a consumer had not been told when the snapshot was taken, each process tells of its own ids."""
    deltas = [store.delta("c")]
    store.acknowledge("c", deltas[0].sequence)
    deltas.append(store.delta("c"))
    for number, delta in enumerate(deltas):
        for name, cut in delta.tables.items():
            np.savez(folder / f"{number}-{name}-{rank}-of-{world}.npz", ids=cut.ids_U, removed=cut.removed)


def begun() -> Any:
    """A model with collision-free ids, over the processes there are."""
    return models.model({"t": 256}, ttl=2 * DAY, buckets=8, admission=Admission("count", 2))


def state(sharded: Any) -> dict[str, Any]:
    return {"model": sharded.state_dict(), "optimizer": sharded.fused_optimizer.state_dict()}


def life(sharded: Any) -> dict[str, np.ndarray]:
    """Ids in order, their clocks and frequencies, and the counts of ids that have no row; of all processes."""
    sharded.state_dict()
    (own,) = (collection.ids["t"] for collection in collections(sharded))
    ranks = Ranks(None, torch.device("cpu"))
    ids_R, seen_R, counts = (ranks.together(getattr(own, name).numpy()) for name in ("ids", "last_seen", "counts"))
    order = np.lexsort((seen_R, ids_R))
    return {"ids": ids_R[order], "last_seen": seen_R[order], "counts": counts}


def taken_over(folder: Path, giver: int) -> Any:
    """The model that `giver` processes saved, with the same rows for the same ids."""
    sharded = begun()
    loaded = state(sharded)
    load_checkpoint(loaded, checkpoint_id=folder / f"model-{giver}")
    sharded.load_state_dict(loaded["model"])
    sharded.fused_optimizer.load_state_dict(loaded["optimizer"])
    given = np.load(folder / f"model-{giver}.npz")
    np.testing.assert_array_equal(models.read(sharded, *range(300)), given["rows"])
    for name, values in life(sharded).items():
        np.testing.assert_array_equal(values, given[name])
    return sharded


def go_on(sharded: Any, rank: int, world: int, folder: Path) -> None:
    """Train and save."""
    for step in range(5):
        now = (world * 5 + step) * DAY // 4
        set_time(sharded, now)
        expire(sharded, now)
        rng = np.random.default_rng([step, rank, world])
        sharded(models.bags(t=rng.integers(0, 300, (8, 6)).tolist())).values().sum().backward()
    rows = models.read(sharded, *range(300))
    assert rows.any(1).sum() > 20
    whole = life(sharded)
    assert all(values.any() for values in whole.values())
    save_checkpoint(state(sharded), checkpoint_id=folder / f"model-{world}")
    if rank == 0:
        arrays: dict[str, Any] = {"rows": rows, **whole}
        np.savez(folder / f"model-{world}.npz", **arrays)


def members(rank: int, world: int, folder: Path, giver: int) -> None:
    member(rank, world, folder)
    go_on(taken_over(folder, giver), rank, world, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Snapshots of a stream that one, two and four processes trained on."""
    folder = tmp_path_factory.mktemp("ranks")
    store = LocalStore(TABLES, SEED)
    store.subscribe("c")
    train(store, range(6), 0, 1)
    store.delta("c")
    train(store, range(6, 10), 0, 1)
    store.save(folder / "begun")
    (folder / "digest").write_text(store.digest())
    member(0, 1, folder)
    go_on(begun(), 0, 1, folder)
    run(4, members, folder, 1)
    run(2, members, folder, 4)
    return folder


def loaded(folder: Path) -> LocalStore:
    store = LocalStore(TABLES, SEED)
    store.load(folder)
    return store


@pytest.mark.parametrize("world", [1, 2, 4])
def test_any_number_of_processes_learns_the_same_rows(folder: Path, world: int) -> None:
    compare(loaded(folder / f"by-{world}"), steps=15)


def briefly(rank: int, world: int, folder: Path) -> None:
    store = TorchRecStore(TABLES, SEED)
    train(store, range(3), rank, world)
    store.save(folder / "brief")


def test_two_processes_learn_the_same_rows_in_a_few_steps(tmp_path: Path) -> None:
    run(2, briefly, tmp_path)
    compare(loaded(tmp_path / "brief"), steps=3)


def compare(store: LocalStore, steps: int) -> None:
    """With what one process learns in as many steps."""
    expected = LocalStore(TABLES, SEED)
    train(expected, range(steps), 0, 1)
    whole = store.state()
    for name, table in expected.state().tables.items():
        ours, theirs = whole.tables[name].ordered(), table.ordered()
        np.testing.assert_array_equal(ours.ids_U, theirs.ids_U)
        np.testing.assert_array_equal(ours.seen_U, theirs.seen_U)
        np.testing.assert_array_equal(ours.freq_U, theirs.freq_U)
        np.testing.assert_allclose(ours.weights_UD, theirs.weights_UD, atol=2e-6)
        np.testing.assert_allclose(ours.state_UW, theirs.state_UW, rtol=1e-5, atol=1e-6)
        assert store.counters(name) == expected.counters(name) | {"bytes": store.counters(name)["bytes"]}
        assert store.counters(name)["nonfinite"] == 1
    for group, (weights, _, _) in expected.state().multiplexed.items():
        np.testing.assert_allclose(whole.multiplexed[group][0], weights, atol=2e-6)


@pytest.mark.parametrize("world", [2, 4])
def test_a_checkpoint_of_many_processes_moves_to_one(folder: Path, world: int) -> None:
    store = TorchRecStore(TABLES, SEED)
    store.load(folder / f"by-{world}")
    assert store.digest() == digest(load(folder / f"by-{world}", store.tables, SEED))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's, of the sharded tensors that TorchRec saves
def test_a_model_with_collision_free_ids_moves_from_one_process_to_four_to_two_to_one(folder: Path) -> None:
    taken_over(folder, 2)


def take_a_full_table(rank: int, world: int, folder: Path) -> None:
    """Of 64 rows, half of them older; each process has room for 32 and owns more or fewer."""
    sharded = models.model({"t": 64}, ttl=9 * DAY)
    loaded = state(sharded)
    load_checkpoint(loaded, checkpoint_id=folder / "full")
    sharded.load_state_dict(loaded["model"])
    sharded.fused_optimizer.load_state_dict(loaded["optimizer"])
    rows, given = models.read(sharded, *FULL), np.load(folder / "full.npy")
    live = np.flatnonzero(rows.any(1))
    np.testing.assert_array_equal(rows[live], given[live])
    owners = HashBuckets(world, 8).owner(np.array(FULL, np.uint64))
    excess = np.maximum(0, np.bincount(owners) - 32)
    assert excess.sum() > 0
    assert (len(live), (live >= 32).sum()) == (64 - excess.sum(), 32)
    found = counters(sharded, "t")
    assert (found["live"], found["evicted"]) == (np.bincount(owners)[rank] - excess[rank], excess[rank])


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_process_that_owns_more_ids_than_it_has_rows_keeps_the_latest(tmp_path: Path) -> None:
    sharded = models.model({"t": 64}, ttl=9 * DAY)
    for day in range(2):
        set_time(sharded, day * DAY)
        sharded(models.bags(t=[[key] for key in FULL[32 * day : 32 * day + 32]])).values().sum().backward()
    save_checkpoint(state(sharded), checkpoint_id=tmp_path / "full")
    np.save(tmp_path / "full.npy", models.read(sharded, *FULL))
    run(2, take_a_full_table, tmp_path)


@pytest.mark.parametrize("world", [2, 4])
def test_the_deltas_of_all_processes_together_are_the_stores(folder: Path, world: int) -> None:
    store = loaded(folder / "begun")
    for number in range(2):
        delta = store.delta("c")
        store.acknowledge("c", delta.sequence)
        for name, cut in delta.tables.items():
            parts = [np.load(folder / f"{number}-{name}-{rank}-of-{world}.npz") for rank in range(world)]
            for what, whole in (("ids", cut.ids_U), ("removed", cut.removed)):
                assert sorted(np.concatenate([part[what] for part in parts]).tolist()) == sorted(whole.tolist())


def one_id_at_a_time(rank: int, _world: int, folder: Path) -> None:
    """Each step has an id of one process; a store that was saved and loaded on the way has learned the same."""
    film = Table("film", 4, capacity=100)
    alive, again = TorchRecStore([film]), TorchRecStore([film])
    owners = HashBuckets(2, buckets=2).owner(FULL_IDS)
    first, second = FULL_IDS[owners == 0][:3], FULL_IDS[owners == 1][:3]
    assert len(first) == len(second) == 3
    for number, ids in enumerate((first, second)):
        for at in range(3):
            own = ids[at : at + 1] if rank == 0 else ids[:0]
            for store in (alive, again):
                store.update(store.lookup("film", own, 0), np.ones((len(own), 4), np.float32))
        snapshot = folder / f"snapshot-{number}"
        snapshot.mkdir(exist_ok=True)
        again.save(snapshot)
        again.load(snapshot)
    assert again.digest() == alive.digest()
    assert again.state().tables["film"].lookups == alive.state().tables["film"].lookups == 6


def test_steps_without_an_id_of_one_process_count_in_it_too(tmp_path: Path) -> None:
    run(2, one_id_at_a_time, tmp_path)


def one_admitted_at_a_time(rank: int, _world: int, folder: Path) -> None:
    """Each step has an id of one process that is admitted, seen twice, and one of the other that is not."""
    film = Table("film", 4, capacity=100, admission=Admission("count", 2))
    alive, again = TorchRecStore([film]), TorchRecStore([film])
    owners = HashBuckets(2, buckets=2).owner(FULL_IDS)
    first, second = FULL_IDS[owners == 0], FULL_IDS[owners == 1]
    steps = (first[0], second[0]), (first[0], second[1]), (second[2], first[1]), (second[2], first[2])
    for number, (admitted, refused) in enumerate(steps):
        ids = np.array([admitted, admitted, refused][: 3 if rank == 0 else 0], np.uint64)
        for store in (alive, again):
            store.update(store.lookup("film", ids, 0), np.ones((len(ids), 4), np.float32))
        assert alive.counters("film")["live"] == (1, 1, 2, 2)[number]
        again.save(folder / "snapshot")
        again.load(folder / "snapshot")
    assert again.digest() == alive.digest()
    assert again.state().tables["film"].step == alive.state().tables["film"].step == 4


def test_steps_in_which_one_process_admits_none_of_its_ids_count_in_it_too(tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    run(2, one_admitted_at_a_time, tmp_path)


COUNTED = Table("film", 4, capacity=1000, admission=Admission("count", 3))


def seen_for_the_second_time(rank: int, world: int, folder: Path) -> None:
    store = TorchRecStore([COUNTED])
    store.load(folder / "once")
    store.lookup("film", FULL_IDS[rank::world], 0)
    assert store.counters("film")["live"] == 0
    store.save(folder / "twice")


def test_counts_towards_admission_go_from_one_process_to_two_and_back(tmp_path: Path) -> None:
    once, thrice = LocalStore([COUNTED]), LocalStore([COUNTED])
    once.lookup("film", FULL_IDS, 0)
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
    once.save(tmp_path / "once")
    run(2, seen_for_the_second_time, tmp_path)
    thrice.load(tmp_path / "twice")
    assert thrice.counters("film")["live"] == 0
    assert (thrice.lookup("film", FULL_IDS, 0).rows_N >= 0).all()
