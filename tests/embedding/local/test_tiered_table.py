"""Rows on disk: nothing that a table in memory would do differently, and what only files can suffer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from embedding.local.store import LocalStore
from embedding.local.tiered_table import TieredTable
from embedding.store import Admission, Ids, Optimizer, Table
from recsys.errors import ColdRowsError, FileError, InvalidValueError
from tests.contracts.store_copy import Copy, follow
from tests.embedding import reading

MINUTE = 60_000
CLOCKS: dict[str, Callable[[int], int]] = {
    "moving": lambda step: step * MINUTE // 3,
    "still": lambda step: 0 * step,
    "coarse": lambda step: step // 50 * 60 * MINUTE,
}


def ids(*values: int) -> Ids:
    return np.array(values, np.uint64)


def make(folder: Path, warm: int = 2, cold: int = 8, ttl: int | None = None) -> LocalStore:
    return LocalStore([Table("t", 4, capacity=warm, cold_capacity=cold, ttl=ttl)], cold_folder=folder)


def train(store: LocalStore, *keys: int, now: int = 0) -> None:
    for key in keys:
        found = store.lookup("t", ids(key), now)
        store.update(found, np.full((1, 4), key + 1, np.float32))


def changed(store: LocalStore) -> tuple[list[int], list[list[float]], list[int]]:
    """The next delta, in the order of ids."""
    delta = store.delta("c")
    store.acknowledge("c", delta.sequence)
    cut = delta.tables["t"]
    order = np.argsort(cut.ids_U)
    return cut.ids_U[order].tolist(), cut.values_UD[order].tolist(), sorted(cut.removed.tolist())


def batch(rng: np.random.Generator, step: int) -> Ids:
    spread = rng.integers(0, 10_000, 200) if step % 3 else rng.zipf(1.2, 200) % 10_000
    return spread.astype(np.uint64)


def both(table: Table, warm: int, folder: Path) -> tuple[LocalStore, LocalStore]:
    tiers = replace(table, capacity=warm, cold_capacity=table.capacity - warm)
    stores = LocalStore([table]), LocalStore([tiers], cold_folder=folder)
    for store in stores:
        store.subscribe("c")
    return stores


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("kind", ["rowwise_adagrad", "adam"])
def test_a_table_with_rows_on_disk_is_one_with_all_of_them_in_memory(
    kind: Literal["rowwise_adagrad", "adam"], clock: str, tmp_path: Path
) -> None:
    """Look-ups, late steps, expiry, erasure, deltas and restores, to the bit."""
    rule = Admission("probabilistic", 2) if kind == "adam" else Admission()
    ttl = None if clock == "still" else 40 * MINUTE
    table = Table("t", 4, capacity=1500, optimizer=Optimizer(kind), admission=rule, ttl=ttl)
    stores, rng, looked = both(table, 300, tmp_path), np.random.default_rng(0), []
    for step in range(120):
        keys, now = batch(rng, step), 10**9 + CLOCKS[clock](step)
        looked.append([store.lookup("t", keys, now) for store in stores])
        one, other = looked[-1]
        np.testing.assert_array_equal(one.values_ND, other.values_ND)
        grads = rng.standard_normal((200, 4)).astype(np.float32)
        for found in (looked[-1], looked[max(0, step - 9)]) if step % 7 == 0 else (looked[-1],):
            for store, own in zip(stores, found, strict=True):
                store.update(own, grads)
        if step % 11 == 0:
            assert len({store.expire(now) for store in stores}) == 1
        if step % 13 == 0:
            keys = rng.integers(0, 10_000, 50).astype(np.uint64)
            assert len({store.forget("t", keys) for store in stores}) == 1
        if step % 5 == 0:
            assert changed(stores[0]) == changed(stores[1])
        if step == 70:
            for store, name in zip(stores, "ab", strict=True):
                store.save(tmp_path / name)
                store.load(tmp_path / name)
    assert stores[0].digest() == stores[1].digest()
    memory, disk = (store.counters("t") for store in stores)
    assert {name: disk[name] for name in memory if name not in ("rows", "bytes")} == {
        name: count for name, count in memory.items() if name not in ("rows", "bytes")
    }
    assert min(disk[name] for name in ("cold", "moved_out", "brought_back", "evicted")) > 0, "all of it happened"


def test_an_id_that_comes_back_has_its_trained_row_and_state_in_the_same_call(tmp_path: Path) -> None:
    store, never_moved = make(tmp_path), LocalStore([Table("t", 4)])
    for each in (store, never_moved):
        train(each, 1, 2, 3, 4)
    assert (store.counters("t")["cold"], store.counters("t")["rows"]) == (2, 2)
    for each in (store, never_moved):
        train(each, 1)
    assert store.counters("t")["brought_back"] == 1
    assert store.digest() == never_moved.digest()


def test_servers_keep_what_moved_and_are_told_of_what_went(tmp_path: Path) -> None:
    store, held = make(tmp_path, warm=2, cold=3, ttl=60 * MINUTE), Copy()
    store.subscribe("c")
    train(store, 1, 2)
    follow(store, "c", held)
    train(store, 3, 4, now=MINUTE)
    assert store.counters("t")["cold"] == 2
    assert follow(store, "c", held).tables["t"].removed.tolist() == []
    assert held.tables["t"].keys() == {1, 2, 3, 4}
    store.forget("t", ids(1))
    assert follow(store, "c", held).tables["t"].removed.tolist() == [1]
    assert store.expire(61 * MINUTE) == 1
    assert follow(store, "c", held).tables["t"].removed.tolist() == [2]
    train(store, 5, 6, 7, 8, now=61 * MINUTE)
    assert store.counters("t")["evicted"] == 1
    follow(store, "c", held)
    every = np.arange(9, dtype=np.uint64)
    assert held.read("t", every, 4) == store.peek("t", every).values_ND.tolist()


def test_a_change_is_told_although_its_row_has_moved_since(tmp_path: Path) -> None:
    store, held = make(tmp_path), Copy()
    store.subscribe("c")
    train(store, 1, 2)
    follow(store, "c", held)
    train(store, 1)
    train(store, 3, 4, 5, now=MINUTE)
    assert store.peek("t", ids(1)).rows_N[0] >= 2, "on disk"
    assert sorted(follow(store, "c", held).tables["t"].ids_U.tolist()) == [1, 3, 4, 5]
    assert held.read("t", ids(1, 2, 3), 4) == store.peek("t", ids(1, 2, 3)).values_ND.tolist()
    train(store, 2)
    assert follow(store, "c", held).tables["t"].ids_U.tolist() == [2]


def test_a_snapshot_in_the_background_has_the_rows_as_they_were(tmp_path: Path) -> None:
    store, copy = make(tmp_path, 8, 64), make(tmp_path, 8, 64)
    train(store, *range(40))
    before, saving = store.digest(), store.save_in_background(tmp_path / "s")
    train(store, *range(30, 72), *range(30))
    saving.result()
    copy.load(tmp_path / "s")
    assert copy.digest() == before != store.digest()
    assert copy.counters("t")["cold"] == 32


def test_an_older_snapshot_knows_nothing_of_later_rows_on_disk(tmp_path: Path) -> None:
    store = make(tmp_path)
    train(store, 1, 2, 3)
    store.save(tmp_path / "s")
    before = store.digest()
    train(store, 4, 5, 1)
    store.load(tmp_path / "s")
    assert store.digest() == before
    assert (store.peek("t", ids(1, 2, 3, 4, 5)).rows_N >= 0).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("tiers", [(3, 9), (12, 0), (2, 3), (1, 1)])
def test_a_snapshot_may_be_restored_into_other_tiers(tiers: tuple[int, int], tmp_path: Path) -> None:
    store, other = make(tmp_path), make(tmp_path, *tiers)
    for minute in range(8):
        train(store, minute, now=minute * MINUTE)
    store.save(tmp_path / "s")
    other.load(tmp_path / "s")
    kept = list(range(max(0, 8 - sum(tiers)), 8))
    every = np.arange(8, dtype=np.uint64)
    assert every[other.peek("t", every).rows_N >= 0].tolist() == kept
    np.testing.assert_array_equal(other.peek("t", every[kept]).values_ND, store.peek("t", every[kept]).values_ND)


def test_a_reader_never_sees_half_a_row_nor_another_ids(tmp_path: Path) -> None:
    table = replace(reading.TABLE, capacity=reading.BATCH + 50, cold_capacity=reading.CAPACITY - reading.BATCH - 50)
    store = LocalStore([table], cold_folder=tmp_path)
    reading.check(store)
    assert store.counters("t")["moved_out"] > 0


@pytest.mark.parametrize("cold", [0, 16])
def test_ids_that_were_seen_decades_apart_are_as_far_apart_after_a_restart(cold: int, tmp_path: Path) -> None:
    """As those of MovieLens are. What goes on then is what would have gone on."""
    year = 365 * 24 * 60 * MINUTE
    store, again = (make(tmp_path, warm=20 - cold, cold=cold) for _ in range(2))
    for number in range(20):
        train(store, number, now=(25 + number) * year)
    store.save(tmp_path / "s")
    again.load(tmp_path / "s")
    assert again.digest() == store.digest()
    for one in (store, again):
        train(one, 1, 20, 21, now=45 * year)
    assert again.digest() == store.digest()


# bad input and bad disks


def test_a_store_must_be_told_where_rows_on_disk_go(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="give the store a cold_folder"):
        LocalStore([Table("t", 4, capacity=2, cold_capacity=8)])
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"the folder of rows on disk: .*file: .*name a folder"):
        make(tmp_path / "file")


@pytest.mark.parametrize("cold", [-1, 2**31 - 4])
def test_a_number_of_rows_that_cannot_be_is_refused(cold: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=f"cold_capacity is {cold}"):
        make(tmp_path, cold=cold)


def test_a_late_step_on_more_ids_than_memory_holds_is_refused(tmp_path: Path) -> None:
    found = LocalStore([Table("t", 4)]).lookup("t", ids(1, 2, 3), 0)
    with pytest.raises(InvalidValueError, match="3 distinct ids in one call, but memory holds 2 rows"):
        make(tmp_path).update(found, np.ones_like(found.values_ND))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files, and unlinked files, as Linux does")
def test_a_disk_without_room_is_an_error_at_the_start(tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "from pathlib import Path; from tests.embedding.local.test_tiered_table import make\n"
        "make(Path(sys.argv[1]), cold=1 << 20)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"FileError: the folder of rows on disk: {tmp_path}: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_delta_that_finds_no_room_loses_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its values need a file where more rows changed than memory holds. Another table was read before."""
    tables = Table("a", 4), Table("t", 4, capacity=2, cold_capacity=8)
    store = LocalStore(tables, cold_folder=tmp_path)
    store.subscribe("c")
    store.acknowledge("c", store.delta("c").sequence)
    train(store, 1, 2, 3, 4)
    store.lookup("a", ids(7), 0)

    def full(folder: Path, *_: object) -> None:
        raise FileError(f"{folder}: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("embedding.local.tiered_table.mapped_zeros", full)
        with pytest.raises(FileError, match="No space"):
            store.delta("c")
    delta = store.delta("c")
    assert (delta.full, delta.sequence) == (True, 2)
    assert delta.tables["a"].ids_U.tolist() == [7]
    assert sorted(delta.tables["t"].ids_U.tolist()) == [1, 2, 3, 4]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_does_not_write_over_the_rows_of_the_other_process(tmp_path: Path) -> None:
    store = make(tmp_path)
    train(store, 1, 2, 3, 4)
    before = store.digest()
    child = os.fork()
    if not child:
        try:
            train(store, 5, 6, 7)
        except InvalidValueError as error:
            os._exit(3 if "which was forked" in str(error) else 4)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert store.digest() == before
    train(store, 1, 2, 3, 4)


def test_a_row_of_another_id_is_not_taken_for_the_one_that_was_written(tmp_path: Path) -> None:
    """As after a write that the disk has lost: the older row there is whole, with the sum over its bits."""
    store = make(tmp_path)
    train(store, 1, 2, 3, 4)
    records = store._by_name["t"]._cold.rows._records.reshape(-1, store._by_name["t"]._cold.rows.width)  # type: ignore[attr-defined]
    records[:2] = records[1::-1].copy()
    with pytest.raises(ColdRowsError, match="not as they were written"):
        store.peek("t", ids(1, 2))
    with pytest.raises(ColdRowsError, match="not as they were written"):
        train(store, 1, 2)


READS: dict[str, Callable[[LocalStore, Path], object]] = {
    "look-up": lambda store, _: train(store, 1, 2),
    "peek": lambda store, _: store.peek("t", ids(1, 2, 3, 4)),
    "delta": lambda store, _: store.delta("c"),
    "snapshot": lambda store, folder: store.save(folder / "s"),
}


@pytest.mark.parametrize("what", READS)
@pytest.mark.parametrize("where", [0, -1], ids=["weights", "checksum"])
def test_a_flipped_bit_on_disk_is_an_error_wherever_it_is_read(where: int, what: str, tmp_path: Path) -> None:
    store = make(tmp_path)
    store.subscribe("c")
    train(store, 1, 2, 3, 4)
    table = store._by_name["t"]
    assert isinstance(table, TieredTable)
    words = table._cold.rows.state.view(np.uint32)
    words[np.flatnonzero(words)[where]] ^= 1 << 7
    with pytest.raises(ColdRowsError, match=f"{tmp_path}: rows on disk are not as they were written"):
        READS[what](store, tmp_path)


SAVER = """
import sys
from pathlib import Path
from tests.embedding.local.test_tiered_table import make, train
folder = Path(sys.argv[1])
store = make(folder / "cold", 4, 60)
for step in range(10_000):
    train(store, *(step * 7 % 50 + k for k in range(8)), now=step * 60_000)
    store.save(folder / f"{step}")
    print(step, store.digest(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="files without a name are looked for as Linux has them")
def test_killed_at_any_time_it_goes_on_from_its_last_snapshot_and_leaves_no_files(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SAVER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        lines = [process.stdout.readline().split() for _ in range(5)]
        os.kill(process.pid, signal.SIGKILL)
        lines += [line.split() for line in process.stdout if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL
    last, digest = lines[-1]
    store = make(tmp_path / "cold", 4, 60)
    store.load(tmp_path / last)
    assert store.digest() == digest
    assert store.counters("t")["cold"] > 0
    assert list((tmp_path / "cold").iterdir()) == []
