"""How rows in half precision and int8 change served scores, and the memory that they save in Redis.

MovieLens small is learned up to SPLIT as a trainer learns it. Then the same rows are published in each precision to a
real Redis, read back as a server reads them, and the same network scores all ratings after SPLIT with them.

Shape suffixes: P publications, R rated films, D embedding dimension.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch

from benchmarks.harness import ROOT, Result, Target
from embedding.local.store import LocalStore
from embedding.store import Delta, Lookup, TableDelta
from recsys import wiring
from recsys.commands.online.ingest import run as ingest
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.config.units import milliseconds
from recsys.evaluation.metrics import auc
from recsys.evaluation.replay.scored_rows import ScoredRows, outcomes
from recsys.evaluation.replay.training_pass import CHUNK
from recsys.training.dense.peers import Scores
from recsys.training.learner import Learner
from serving.cache.row_store import Ids, RedisRows
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis
from serving.replication.keys import ModelKeys
from serving.replication.publish.publisher import Publisher
from serving.replication.row_codec import Precision

SPLIT = 1_388_534_400_000
"""2014-01-01, as in the demo: 85 % of the ratings lie before it."""
DIMS = (16, 32, 64)
DRAWS = 10
"""Publications of the same rows, each of which int8 rounds differently."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_Figures = dict[Precision, dict[str, float]]


def run(quick: bool) -> Result:
    end = SPLIT + milliseconds("90d" if quick else "3650d")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        config = _prepared(Path(folder))
        client = stack.enter_context(stack.enter_context(EmbeddedRedis(config.redis.folder)).client())
        trainer = stack.enter_context(wiring.trainer(config, publish=False))
        trainer.run(follow=False, stop=threading.Event(), until=SPLIT)
        learner = trainer.learner
        rows = _rated(config, end)
        delta = _everything(learner)
        served = {p: list(_served(config, learner, rows, delta, p, client)) for p in PRECISIONS}
        trained_R = _scores(learner, rows)
        figures = {p: _figures(rows, trained_R, served_PR) for p, served_PR in served.items()}
        sizes = {str(dim): {p: _bytes_a_row(delta, dim, p, client) for p in PRECISIONS} for dim in DIMS}
        allocator = cast(dict[str, str], client.info("memory"))["mem_allocator"]
    counts = {"rated": len(rows), "rows": _count(delta)}
    raw = counts | {"scores": figures, "bytes_a_row": sizes, "allocator": allocator}
    return Result("precision", _targets(figures, sizes["16"]), raw)


def _targets(figures: _Figures, saved: _Figures) -> list[Target]:
    float32 = saved["float32"]["used"]
    return [
        Target("float32: largest difference of a score", figures["float32"]["largest"], 0.0, "lower"),
        Target("half: largest difference of a score", figures["half"]["largest"], 0.001, "lower"),
        Target("int8: largest difference of a score", figures["int8"]["largest"], 0.02, "lower"),
        Target("half: AUC lost by the worst draw", figures["half"]["auc_lost"], 0.0001, "lower"),
        Target("int8: AUC lost by the worst draw", figures["int8"]["auc_lost"], 0.001, "lower"),
        Target("D 16: memory of Redis, half over float32", saved["half"]["used"] / float32, 0.85, "lower"),
        Target("D 16: memory of Redis, int8 over float32", saved["int8"]["used"] / float32, 0.8, "lower"),
    ]


class _Served(LocalStore):
    """Reads rows from Redis, as a server does."""

    def __init__(self, config: Config, rows: RedisRows) -> None:
        super().__init__(wiring.tables(config))
        self._rows_read = rows

    def peek(self, table: str, ids_N: Ids) -> Lookup:
        read = self._rows_read.read({table: ids_N})[table]
        return Lookup(table, ids_N, np.where(read.found_N, 0, -1), read.values_ND)


def _prepared(folder: Path) -> Config:
    path = folder / "examples" / "movielens.toml"  # which writes into the folder `run` beside its own
    path.parent.mkdir()
    shutil.copy(ROOT / "examples" / path.name, path)
    ingest(path, (), "movielens-small", None, None)
    return load(path)


def _rated(config: Config, end: int) -> ScoredRows:
    log = wiring.event_log(config)
    try:
        return ScoredRows(outcomes(wiring.feed(config, log, labels="held")), SPLIT, end)
    finally:
        log.close()


def _everything(learner: Learner) -> Delta:
    learner.store.subscribe("precision")
    return learner.store.delta("precision")


def _served(
    config: Config, learner: Learner, rows: ScoredRows, delta: Delta, precision: Precision, client: RedisClient
) -> Iterator[Scores]:
    """Scores of the rows that Redis holds after each of DRAWS publications."""
    client.flushall()
    store = _Served(config, RedisRows(client, "m", {table.name: table.dim for table in wiring.tables(config)}))
    reader = Learner(learner.spec, learner.model, store, dense_lr=1.0, generator=torch.Generator())
    for draw in range(DRAWS):
        Publisher(client, "m", precision=precision).publish(replace(delta, sequence=delta.sequence + draw))
        yield _scores(reader, rows)


def _scores(learner: Learner, rows: ScoredRows) -> Scores:
    starts = range(0, len(rows), CHUNK)
    return np.concatenate([learner.score(rows.slice(low, min(low + CHUNK, len(rows)))) for low in starts])


def _figures(rows: ScoredRows, trained_R: Scores, served: list[Scores]) -> dict[str, float]:
    """Differences over all draws; the mean AUC, and the loss of the worst draw."""
    off_PR = np.abs(np.stack(served) - trained_R)
    aucs_P = np.array([auc(rows.labels_R, served_R) for served_R in served])
    return {
        "largest": float(off_PR.max()),
        "mean": float(off_PR.mean()),
        "auc": float(aucs_P.mean()),
        "auc_lost": auc(rows.labels_R, trained_R) - float(aucs_P.min()),
    }


def _bytes_a_row(delta: Delta, dim: int, precision: Precision, client: RedisClient) -> dict[str, float]:
    """Memory of rows with these ids: of one key as Redis reports it, and of all, including the index of keys."""
    rng = np.random.default_rng(0)
    tables = {
        name: TableDelta(table.ids_U, rng.normal(0, 0.1, (len(table.ids_U), dim)).astype(np.float32), table.removed)
        for name, table in delta.tables.items()
    }
    client.flushall()
    before = _used(client)
    Publisher(client, "m", precision=precision).publish(Delta(delta.sequence, True, tables))
    for name, table in tables.items():
        for start in range(0, len(table.ids_U), CHUNK):  # each look-up takes the growth of Redis's index a step further
            RedisRows(client, "m", dict.fromkeys(delta.tables, dim)).read({name: table.ids_U[start : start + CHUNK]})
    used = (_used(client) - before) / _count(delta)
    (key,) = ModelKeys("m").rows("item", tables["item"].ids_U[:1])
    return {"key": cast(int, client.memory_usage(key)), "used": used}


def _used(client: RedisClient) -> int:
    return int(cast(dict[str, int], client.info("memory"))["used_memory"])


def _count(delta: Delta) -> int:
    return sum(len(table.ids_U) for table in delta.tables.values())
