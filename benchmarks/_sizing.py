"""How much memory, disk, network and how many cores a project needs, from measured figures: `docs/sizing.md`.

`python -m benchmarks._sizing` writes the page; with `--ids 5e7 --dim 32 ...` it prints that plan instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

from benchmarks.harness import ROOT, saved

RESULTS = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "sizing.md"
GIB = 2**30
HEADROOM = 1.3
"""Memory that a process has beyond what is counted: buffers of a step, a checkpoint being written, the interpreter."""
BASE_GIB = 1.0
"""Of a trainer or server without rows: PyTorch or an engine, libraries, caches."""
CHECKPOINTS = 3 + 1
"""`[training] keep`, and the one that is being written."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a project has and wants."""

    ids: float = 10e6
    """Live ids of all embedding tables together: users, items, categories."""
    dim: int = 16
    precision: str = "float32"
    """Of rows in Redis."""
    shown: float = 1_000
    """Items shown a second, each of which is learned from."""
    fields: int = 20
    requests: float = 200
    """Rankings of 500 candidates a second."""
    servers: int = 2
    hot: float = 0.1
    """Share of the ids whose rows a server keeps (`[serving] cache_rows`)."""
    gib_month: float = 3.0
    """Price of a GiB of memory a month, in your currency."""
    core_month: float = 25.0

    @property
    def row(self) -> int:
        """Bytes of a row with the state of row-wise Adagrad, in the store (docs/embedding.md)."""
        return 4 * (self.dim + 1) + 8

    @property
    def trainer_gib(self) -> float:
        return self.ids * (self.row + _figure("id_table", "bytes an id")) * HEADROOM / GIB + BASE_GIB

    @property
    def redis_gib(self) -> float:
        return self.ids * _redis_bytes()[self.precision](self.dim) * 1.1 / GIB

    @property
    def server_gib(self) -> float:
        return self.hot * self.ids * (4 * self.dim + 8 + _figure("id_table", "bytes an id")) / GIB + BASE_GIB

    @property
    def disk_gib(self) -> float:
        return CHECKPOINTS * self.ids * _snapshot_bytes(self.dim) / GIB

    @property
    def row_mbit(self) -> float:
        """Megabits of changed rows a second to Redis, and from it to each server, if every one is another row."""
        return self.shown * self.fields * (4 * self.dim + 24) * 8 / 1e6

    @property
    def training_cores(self) -> float:
        learned, read = _raw("loop")["ours_rows_per_s"], _raw("joiner")["events_per_s"]["feed"]
        return float(self.shown / learned + self.shown / read)

    @property
    def serving_cores(self) -> float:
        return float(self.requests * _raw("serve")["server_cpu_ms"] / 1000 / 0.7)

    @property
    def price(self) -> float:
        memory = self.trainer_gib + self.redis_gib + self.servers * self.server_gib
        return memory * self.gib_month + (self.training_cores + self.serving_cores + 1) * self.core_month


PLANS = {
    "10 M ids": Plan(),
    "10 M ids, D = 64": Plan(dim=64),
    "1 B ids": Plan(ids=1e9, shown=20_000, requests=5_000, servers=160, hot=0.02),
    "1 B ids, int8 in Redis": Plan(ids=1e9, shown=20_000, requests=5_000, servers=160, hot=0.02, precision="int8"),
}
_ROWS: dict[str, Callable[[Plan], str]] = {
    "live ids": lambda plan: f"{plan.ids:,.0f}",
    "dimension, precision in Redis": lambda plan: f"{plan.dim}, {plan.precision}",
    "shown items / rankings a second": lambda plan: f"{plan.shown:,.0f} / {plan.requests:,.0f}",
    "trainer: memory, all workers together": lambda plan: f"{plan.trainer_gib:,.1f} GiB",
    "trainer: cores": lambda plan: f"{plan.training_cores:,.1f}",
    "checkpoints on disk": lambda plan: f"{plan.disk_gib:,.1f} GiB",
    "Redis: memory": lambda plan: f"{plan.redis_gib:,.1f} GiB",
    "changed rows to Redis, and to each server, at most": lambda plan: f"{plan.row_mbit:,.0f} Mbit/s",
    "servers: number, memory of each": lambda plan: f"{plan.servers}, {plan.server_gib:,.1f} GiB",
    "servers: cores, all together": lambda plan: f"{plan.serving_cores:,.1f}",
    "price a month": lambda plan: f"{plan.price:,.0f}",
}
_HEAD = """# Sizing
How much a project needs. Made by `python -m benchmarks._sizing` from the [measured figures](benchmarks.md): a row of
the store and its id, bytes of a row in Redis and in a checkpoint, rows a core learns a second (AutoInt, 39 fields), and
CPU time of a ranking of 500 candidates (AutoInt, 20 fields). Your own plan: `python -m benchmarks._sizing --ids 5e7`
(`--help` names the rest).

"""
_TAIL = """
- Memory is proportional to live ids. `ttl`, `admission` and `capacity` decide how many are live: [choosing
  memory](choosing_memory.md) measures what fewer cost.
- With `[training] workers = N` each worker holds an N-th of the rows ([several workers](train.md#several-workers)).
  Cores are those of one process: what workers exchange comes on top (`python -m benchmarks workers`).
- The model decides the cores. `python -m benchmarks loop` and `serve` measure yours on your machine; a factorisation
  machine takes a fraction of AutoInt. Serving cores leave 30 % idle, so that peaks do not queue.
- A server keeps the rows of a share of the ids ({hot}) and asks Redis for the others, one round trip a request.
- The traffic of rows is a bound: a row that changes twice within `publish_every` is sent once.
- Prices are assumptions: {gib_month:g} a GiB of memory and {core_month:g} a core, each month, plus a core for Redis.
  Disk, Kafka and traffic between zones are not in them.
- Figures were measured up to 18 M rows; 1 B ids are the same figures times their number, not a run.
"""


@cache
def _saved(name: str) -> dict[str, Any]:
    return saved(RESULTS, name)[-1]


def _raw(name: str) -> dict[str, Any]:
    raw: dict[str, Any] = _saved(name)["raw"]
    return raw


def _figure(name: str, what: str) -> float:
    return next(float(target["value"]) for target in _saved(name)["targets"] if target["what"] == what)


def _redis_bytes() -> dict[str, Callable[[int], float]]:
    """By precision: bytes of a row of so many dimensions, on the line through the smallest and largest measured."""
    measured = {int(dim): used for dim, used in _raw("precision")["bytes_a_row"].items()}
    low, high = min(measured), max(measured)

    def line(precision: str) -> Callable[[int], float]:
        first, last = (measured[dim][precision]["used"] for dim in (low, high))
        return lambda dim: float(first + (last - first) * (dim - low) / (high - low))

    return {precision: line(precision) for precision in measured[low]}


def _snapshot_bytes(dim: int) -> float:
    """Bytes of a row and its id in a checkpoint: what was measured at its dimension, and 4 for each more or fewer."""
    raw = _raw("snapshot")
    return float(raw["GB"] * 1e9 / raw["live"] + 4 * (dim - raw["dim"]))


def table(plans: dict[str, Plan]) -> str:
    lines = ["| | " + " | ".join(plans) + " |", "|---|" + "---:|" * len(plans)]
    lines += [f"| {what} | " + " | ".join(map(show, plans.values())) + " |" for what, show in _ROWS.items()]
    return "\n".join(lines) + "\n"


def page() -> str:
    plan = Plan()
    hot = f"{plan.hot:.0%} of 10 M, {PLANS['1 B ids'].hot:.0%} of 1 B"
    return _HEAD + table(PLANS) + _TAIL.format(hot=hot, gib_month=plan.gib_month, core_month=plan.core_month)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks._sizing", description=__doc__)
    for field in fields(Plan):
        kind = str if field.name == "precision" else float
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, help=f"{field.default} if not given")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    if not given:
        PAGE.write_text(page(), encoding="utf-8")
        return
    whole = {name: int(value) for name, value in given.items() if name in ("dim", "fields", "servers")}
    print(table({"your plan": replace(Plan(), **given | whole)}), end="")


if __name__ == "__main__":
    main()
