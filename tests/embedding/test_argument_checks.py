"""Values of another kind than asked for are named, with what to write, before anything else happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding.ids.id_table import IdTable
from embedding.local.store import LocalStore
from embedding.reference.store import ReferenceStore
from embedding.sharding import HashBuckets
from embedding.store import Admission, Optimizer, Table
from recsys.errors import InvalidValueError

ANY: Any = {
    "text": "7",
    "fraction": 7.5,
    "number of NumPy": np.int64(7),
    "truth": True,
}


def table(**settings: Any) -> LocalStore:
    whole: dict[str, Any] = {"name": "item", "dim": 4, **settings}
    return LocalStore([Table(**whole)], cold_folder="unused")


@pytest.mark.parametrize("value", ANY.values(), ids=ANY.keys())
@pytest.mark.parametrize("what", ["dim", "capacity", "cold_capacity", "fallback_rows", "ttl"])
def test_a_whole_number_of_a_table_is_a_python_int(what: str, value: Any) -> None:
    with pytest.raises(InvalidValueError, match=rf"table 'item': {what} is .*, write .* int"):
        table(**{what: value})


@pytest.mark.parametrize("value", ["0.1", float("nan"), float("inf"), np.float32(0.1), None])
@pytest.mark.parametrize("what", ["lr", "eps", "l1", "l2"])
def test_a_number_of_an_optimizer_is_a_finite_python_float(what: str, value: Any) -> None:
    with pytest.raises(InvalidValueError, match=rf"{what} is .*, write a finite Python float"):
        LocalStore([Table("item", 4, optimizer=Optimizer("ftrl", **{what: value}))])


some: Any = [Table("item", 4)]
MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "name": (lambda: table(name=3), "table 3: write its name as a str"),
    "init_scale": (lambda: table(init_scale="1"), "init_scale is '1', write a finite Python float"),
    "init_scale below 0": (lambda: table(init_scale=-1.0), "init_scale is -1.0, choose at least 0"),
    "optimizer": (lambda: table(optimizer="adagrad"), r"optimizer is 'adagrad', write for example Optimizer\("),
    "admission": (lambda: table(admission="count"), r"admission is 'count', write for example Admission\("),
    "threshold": (lambda: table(admission=Admission("count", "2")), "threshold is '2', write a Python int"),  # type: ignore[arg-type]
    "betas": (lambda: table(optimizer=Optimizer("adam", betas=0.9)), "betas is 0.9, write two floats"),  # type: ignore[arg-type]
    "a beta": (lambda: table(optimizer=Optimizer("adam", betas=(0.9, "1"))), "one of betas is '1'"),  # type: ignore[arg-type]
    "max_norm": (lambda: table(optimizer=Optimizer(max_norm="1")), "max_norm is '1', write a finite"),  # type: ignore[arg-type]
    "one table": (lambda: LocalStore(some[0]), r"write a list of them, as \[Table"),
    "names": (lambda: LocalStore(["item"]), r"write a list of them, as \[Table"),  # type: ignore[list-item]
    "reference": (lambda: ReferenceStore("item"), r"write a list of them, as \[Table"),  # type: ignore[arg-type]
    "seed": (lambda: LocalStore(some, seed=1.5), "seed is 1.5, write a Python int"),  # type: ignore[arg-type]
    "threads": (lambda: LocalStore(some, threads="2"), "threads is '2', write a Python int"),  # type: ignore[arg-type]
    "no threads": (lambda: LocalStore(some, threads=0), "threads is 0, choose 1 or more"),
    "cold_folder": (lambda: LocalStore(some, cold_folder=3), "cold_folder is 3, write the path"),  # type: ignore[arg-type]
    "shards": (lambda: HashBuckets("2"), "number of shards is '2', write a Python int"),  # type: ignore[arg-type]
    "buckets": (lambda: HashBuckets(2, 0), "number of buckets is 0, choose 1 or more"),
    "id table": (lambda: IdTable("3"), "capacity is '3', write a Python int"),  # type: ignore[arg-type]
    "rate": (lambda: LocalStore(some).scale_rates("2"), "factor of the learning rates is '2'"),  # type: ignore[arg-type]
    "consumer": (lambda: LocalStore(some).subscribe(3), "consumer 3: write its name as a str"),  # type: ignore[arg-type]
    "a table": (lambda: LocalStore(some).counters([]), r"unknown table \[\]: this store has item"),  # type: ignore[arg-type]
    "no snapshot": (lambda: LocalStore(some).load([]), "no snapshot was given"),
    "save to": (lambda: LocalStore(some).save(5), "folder is 5, write the path"),  # type: ignore[arg-type]
    "load": (lambda: LocalStore(some).load(5), "folder is 5, write the path"),  # type: ignore[arg-type]
    "update": (lambda: LocalStore(some).update(None, None), "update is None, write what lookup"),  # type: ignore[arg-type]
    "update of reference": (lambda: ReferenceStore(some).update(3, None), "update is 3, write what lookup"),  # type: ignore[arg-type]
    "save": (lambda: LocalStore(some).save("unused", number="7"), "number of a save is '7'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_what_is_wrong_and_what_to_write_is_said(mistake: tuple[Callable[[], object], str]) -> None:
    act, message = mistake
    with pytest.raises(InvalidValueError, match=message):
        act()


def test_the_shard_of_a_snapshot_and_the_number_of_a_delta_are_ints(tmp_path: Path) -> None:
    store = LocalStore(some)
    store.save(tmp_path)
    with pytest.raises(InvalidValueError, match="shard is '0', write a Python int"):
        store.load(tmp_path, shard="0")  # type: ignore[arg-type]
    store.subscribe("redis")
    store.delta("redis")
    with pytest.raises(InvalidValueError, match="number of a delta is '1', write a Python int"):
        store.acknowledge("redis", "1")  # type: ignore[arg-type]
