"""What the processes of a group say of themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedding.store import Table
from recsys.training.group.worker_figures import WorkerFigures


class OneOfTwo:
    """The second of two processes, of which the first says what this one does."""

    rank, size = 1, 2

    def gather(self, array: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
        return [array, array]


class Part:
    def __init__(self) -> None:
        self.tables = {name: Table(name, dim=2, capacity=10) for name in ("item", "user")}

    def own_counters(self, table: str) -> dict[str, int]:
        return {"live": len(table), "expired": 1}


def figures() -> dict[str, dict[str, Any]]:
    """After batches of 5 and 1 rows in 8 s, of which 2 s passed in waiting."""
    clock: Iterator[float] = iter([0.0, 1.0, 3.0, 8.0])
    of = WorkerFigures(Part(), cast(Any, OneOfTwo()), lambda: next(clock))
    with of.waiting():
        pass
    of.learned(5)
    of.learned(1)
    return of.of_all()


def test_each_process_says_what_it_learned_and_holds_and_how_long_it_waited() -> None:
    said = figures()
    assert said.keys() == {"0", "1"}
    assert said["1"].pop("host")
    assert said["1"] == {
        "process": os.getpid(),
        "rows": 4,  # the last three of five, and the only one
        "rows_per_second": 0.5,
        "waiting_seconds": 2.0,
        "tables": {"item": {"live": 4, "expired": 1}, "user": {"live": 4, "expired": 1}},
    }
