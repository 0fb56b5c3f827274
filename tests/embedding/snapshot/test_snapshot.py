from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from safetensors.numpy import load_file

from embedding import multiplexed
from embedding.local.store import LocalStore
from embedding.reference.store import ReferenceStore
from embedding.sharding import HashBuckets
from embedding.snapshot import tensor_file
from embedding.store import Optimizer, Table
from recsys.errors import InvalidValueError

RULES = [Optimizer("rowwise_adagrad"), Optimizer("adam"), Optimizer("ftrl")]


def trained(store: LocalStore, steps: int, start: int = 0) -> None:
    for step in range(start, start + steps):
        rng = np.random.default_rng(step)
        for name, table in store.tables.items():
            found = store.lookup(name, rng.integers(0, 30_000, 4000).astype(np.uint64), step * 60_000)
            store.update(found, rng.standard_normal((4000, table.dim)).astype(np.float32))


def tables() -> list[Table]:
    return [Table(rule.kind, 8, capacity=25_000, optimizer=rule, ttl=20 * 60_000) for rule in RULES]


def hold_writes(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Two events: set when a snapshot is about to write its first values, and to be set to let it go on."""
    waited, go_on = threading.Event(), threading.Event()
    write = tensor_file.TensorWriter.write

    def held(self: tensor_file.TensorWriter, name: str, array: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> None:
        waited.set()
        assert go_on.wait(60)
        write(self, name, array)

    monkeypatch.setattr(tensor_file.TensorWriter, "write", held)
    return waited, go_on


@pytest.mark.slow
def test_a_snapshot_is_the_store_as_it_was_when_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part waits until training has rewritten every row."""
    store, other = LocalStore(tables()), LocalStore(tables())
    trained(store, 20)
    before = store.digest()
    waited, go_on = hold_writes(monkeypatch)
    saving = store.save_in_background(tmp_path)
    assert waited.wait(60)
    trained(store, 20, start=20)
    store.expire(60 * 60_000)
    trained(store, 3, start=60)
    assert not saving.done()
    go_on.set()
    saving.result()
    assert store.digest() != before
    other.load(tmp_path)
    assert other.digest() == before


def test_a_second_snapshot_at_the_same_time_is_refused_and_one_after_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore([Table("a", 4), Table("b", 4)])
    trained(store, 1)
    _, go_on = hold_writes(monkeypatch)
    saving = store.save_in_background(tmp_path / "one")
    try:
        with pytest.raises(InvalidValueError, match="table 'a' is being saved: wait"):
            store.save_in_background(tmp_path / "two")
    finally:
        go_on.set()
    assert not (tmp_path / "two").exists()
    saving.result()
    store.save(tmp_path / "two")
    other = LocalStore([Table("a", 4), Table("b", 4)])
    other.load(tmp_path / "two")
    assert other.digest() == store.digest()


def test_what_keeps_a_snapshot_from_the_disk_comes_out_of_result(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    saving = LocalStore([Table("t", 4)]).save_in_background(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        saving.result()


def test_the_files_are_safetensors(tmp_path: Path) -> None:
    store = LocalStore([Table("t", 4)])
    found = store.lookup("t", np.array([2**64 - 1, 3], np.uint64), 0)
    store.save(tmp_path)
    arrays = load_file(tmp_path / "table-000.safetensors")
    assert sorted(arrays["ids"].tolist()) == [3, 2**64 - 1]
    assert arrays["weights"].shape == found.values_ND.shape


@pytest.mark.parametrize(("writer", "reader"), [(LocalStore, ReferenceStore), (ReferenceStore, LocalStore)])
def test_one_store_reads_what_another_wrote(tmp_path: Path, writer: type[LocalStore], reader: type[LocalStore]) -> None:
    store, other = writer([Table("t", 4, ttl=1)]), reader([Table("t", 4, ttl=1)])
    rng = np.random.default_rng(0)
    for step in range(5):
        found = store.lookup("t", rng.integers(0, 90, 40).astype(np.uint64), step * 60_000)
        store.update(found, rng.standard_normal((40, 4)).astype(np.float32))
    store.expire(5 * 60_000)
    store.save(tmp_path)
    other.load(tmp_path)
    assert other.digest() == store.digest()


def test_rows_last_seen_years_apart_keep_their_clocks(tmp_path: Path) -> None:
    """Those that are restored first are the youngest, and the others are more than one part of a file."""
    year = 365 * 24 * 60 * 60_000
    store, other = LocalStore([Table("t", 4)]), LocalStore([Table("t", 4)])
    store.lookup("t", np.arange(20_000, dtype=np.uint64), now=0)
    store.lookup("t", np.arange(10_000, dtype=np.uint64), now=20 * year)
    store.save(tmp_path)
    other.load(tmp_path)
    assert other.digest() == store.digest()


def test_several_snapshots_may_be_read_into_a_store_that_got_a_fallback(tmp_path: Path) -> None:
    """And back again: what its consumers have yet to be told is everything."""
    plain, sharing = Table("t", 4), Table("t", 4, fallback="multiplexed")
    for before, after in ((plain, sharing), (sharing, plain)):
        whole = LocalStore([before])
        whole.subscribe("c")
        found = whole.lookup("t", np.arange(20, dtype=np.uint64), 0)
        whole.update(found, np.ones_like(found.values_ND))
        whole.acknowledge("c", whole.delta("c").sequence)
        folders = [tmp_path / f"{before.fallback}-{part}" for part in range(2)]
        whole.save(tmp_path / before.fallback)
        for part, folder in enumerate(folders):
            shard = LocalStore([before])
            shard.load(tmp_path / before.fallback, shard=part, shards=2)
            shard.save(folder)
        store = LocalStore([after])
        store.load(folders)
        delta = store.delta("c")
        assert (delta.sequence, delta.full) == (2, True)
        assert len(delta.tables["t"].ids_U) == 20
        assert delta.fallback.keys() == ({"t"} if after.fallback == "multiplexed" else set())
        assert len(delta.tables) == 1 + len(delta.fallback)


@pytest.mark.parametrize(("after", "dropped"), [("multiplexed", 0), ("zeros", 1)])
def test_shared_rows_are_not_dropped_silently(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, after: Literal["zeros", "multiplexed"], dropped: int
) -> None:
    LocalStore([Table("t", 4, fallback="multiplexed")]).save(tmp_path)
    LocalStore([Table("t", 4, fallback=after)]).load(tmp_path)
    assert caplog.text.count("no table reads fallback.4.") == dropped


@pytest.mark.parametrize("store", [LocalStore, ReferenceStore])
def test_equal_rules_have_the_same_shared_rows_however_they_are_written(
    tmp_path: Path, store: type[LocalStore]
) -> None:
    before, after = (store([Table("t", 4, optimizer=Optimizer(lr=rate), fallback="multiplexed")]) for rate in (1, 1.0))
    before.subscribe("c")
    before.acknowledge("c", before.delta("c").sequence)
    before.save(tmp_path)
    after.load(tmp_path)
    assert after.digest() == before.digest()
    assert not after.delta("c").full


@pytest.mark.parametrize("store", [LocalStore, ReferenceStore])
def test_shared_rows_that_a_snapshot_knows_by_another_name_begin_afresh_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: type[LocalStore]
) -> None:
    tables = [Table("t", 4, fallback="multiplexed")]
    with monkeypatch.context() as patch:
        patch.setattr(multiplexed, "PREFIX", "earlier.")
        before = store(tables)
        before.subscribe("c")
        before.acknowledge("c", before.delta("c").sequence)
        before.save(tmp_path)
    after = store(tables)
    after.load(tmp_path)
    delta = after.delta("c")
    assert (delta.sequence, delta.full) == (2, True)
    assert delta.tables.keys() == {"t", delta.fallback["t"].rows}


def divided(tmp_path: Path, shards: int) -> tuple[list[LocalStore], list[Path]]:
    """The shards of a trained store, and where each has saved."""
    whole = LocalStore([Table("t", 4)])
    trained(whole, 2)
    whole.save(tmp_path / "whole")
    stores, folders = [LocalStore([Table("t", 4)]) for _ in range(shards)], [tmp_path / str(k) for k in range(shards)]
    for shard, (store, folder) in enumerate(zip(stores, folders, strict=True)):
        store.load(tmp_path / "whole", shard, shards)
        store.save(folder)
    return stores, folders


def joined(folders: list[Path]) -> LocalStore:
    store = LocalStore([Table("t", 4)])
    store.load(folders)
    return store


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0, 1], "shards 0, 1 of 3: load each of them once"),
        ([2], "shards 2 of 3: load each of them once"),
        ([0, 1, 2, 1], "shards 0, 1, 1, 2 of 3: load each of them once"),
    ],
)
def test_missing_shards_are_refused_by_name(tmp_path: Path, given: list[int], message: str) -> None:
    _, folders = divided(tmp_path, 3)
    with pytest.raises(InvalidValueError, match=message):
        joined([folders[shard] for shard in given])
    assert joined(folders).counters("t")["live"] == joined([tmp_path / "whole"]).counters("t")["live"]


@pytest.mark.parametrize("make", [LocalStore, ReferenceStore])
def test_one_shard_is_not_a_whole_store(tmp_path: Path, make: type[LocalStore]) -> None:
    _, folders = divided(tmp_path, 2)
    with pytest.raises(InvalidValueError, match="shards 1 of 2"):
        make([Table("t", 4)]).load(folders[1])


def trained_on(store: LocalStore, shard: int, shards: int) -> None:
    """One step of the ids that a shard owns."""
    ids = np.arange(1000, dtype=np.uint64)
    found = store.lookup("t", ids[HashBuckets(shards).owner(ids) == shard], now=0)
    store.update(found, np.ones_like(found.values_ND))


def test_shards_of_two_moments_are_refused_by_name(tmp_path: Path) -> None:
    stores, folders = divided(tmp_path, 2)
    trained_on(stores[1], 1, 2)
    stores[1].save(folders[1])
    with pytest.raises(InvalidValueError, match="shard 0 of 2 of save 1, shard 1 of 2 of save 2"):
        joined(folders)
    stores[0].save(folders[0])
    joined(folders)


def test_saves_may_be_numbered_by_the_caller(tmp_path: Path) -> None:
    stores, folders = divided(tmp_path, 2)
    stores[1].save(folders[1])
    for store, folder in zip(stores, folders, strict=True):
        store.save(folder, number=700)
    joined(folders)


def test_shards_of_two_divisions_are_refused(tmp_path: Path) -> None:
    _, folders = divided(tmp_path, 2)
    whole = joined(folders)
    trained_on(whole, 0, 1)
    whole.save(tmp_path / "later")
    later = LocalStore([Table("t", 4)])
    later.load(tmp_path / "later", 1, 2)
    later.save(tmp_path / "later-1")
    with pytest.raises(InvalidValueError, match="not of one save"):
        joined([folders[0], tmp_path / "later-1"])


def test_one_shard_restarts_from_its_own_snapshot(tmp_path: Path) -> None:
    stores, folders = divided(tmp_path, 2)
    again = LocalStore([Table("t", 4)])
    again.load(folders[1], shard=1, shards=2)
    assert again.digest() == stores[1].digest()
    for shard, (store, folder) in enumerate(zip((stores[0], again), folders, strict=True)):
        trained_on(store, shard, 2)
        store.save(folder)
    joined(folders)


def test_an_error_of_the_threads_that_fill_rows_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore([Table("item", dim=4, capacity=100)])
    store.lookup("item", np.arange(10, dtype=np.uint64), now=0)
    store.save(tmp_path)
    callers = []

    def broken(*_: object) -> None:
        callers.append(threading.current_thread())
        raise MemoryError("no memory for rows")

    monkeypatch.setattr("embedding.rows.row_block.RowBlock.put", broken)
    with pytest.raises(MemoryError, match="no memory for rows"):
        store.load(tmp_path)
    assert callers
    assert callers[0] is not threading.current_thread()
