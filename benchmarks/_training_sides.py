"""The learner and plain PyTorch on the same batches, from the same weights. Suffixes: B rows, F sparse fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._learner_steps import batch
from benchmarks._plain_autoint import Form, PlainAutoInt, PlainBatch, PlainTrainer
from benchmarks.harness import interleave
from benchmarks.loop import CONFIG
from recsys.config.schema import Config
from recsys.config.sections.learning.models import AutoIntConfig
from recsys.training.learner import Learner
from streaming.encode.batch import TrainingBatch

SEVEN = [{"name": name, "source": f"request.{name}"} for name in ("gender", "age", "occupation", "zip", "genre")]
FIELDS: dict[int, list[dict[str, Any]]] = {
    7: [{"name": "user", "source": "user"}, {"name": "item", "source": "item"}, *SEVEN],
    39: [
        field | ({"scale": "none"} if field.get("kind") == "numeric" else {}) for field in CONFIG["features"]["fields"]
    ],
}
IDS = {7: 6_000, 39: 20_000}
"""Of each field."""
AUTOINT: dict[int, dict[str, Any]] = {7: {"layers": 2, "heads": 2, "units": 32, "mlp": []}, 39: CONFIG["model"]}


def config(fields: int, model: dict[str, Any] | None = None, **training: Any) -> Config:
    """Adagrad of each coordinate is what PyTorch has for rows, too."""
    settings = {"features": {"fields": FIELDS[fields]}, "model": AUTOINT[fields] if model is None else model}
    return Config.model_validate(settings | {"training": {"optimizer": "adagrad"} | training}).rooted(Path())


def batches(configured: Config, rows: int, count: int) -> list[TrainingBatch]:
    rng = np.random.default_rng(0)
    ids = IDS[len(configured.features.fields)]
    return [batch(configured, rng, rows, ids) for _ in range(count)]


def turn(learner: Learner, learned: Sequence[TrainingBatch], steps: int, *, scored: bool = False) -> Callable[[], None]:
    """So many steps a call, over the batches again and again."""
    following = cycle(learned)

    def work() -> None:
        for _ in range(steps):
            learner.step(next(following), scored=scored)

    return work


class Peer:
    """Plain PyTorch with the weights and rows of a learner that has not learned yet, on the same batches."""

    def __init__(self, learner: Learner, configured: Config, learned: Sequence[TrainingBatch], form: Form) -> None:
        model = configured.model
        assert isinstance(model, AutoIntConfig)
        spec, dim = learner.spec, configured.features.dim
        size = IDS[len(configured.features.fields)] + 1
        fields = len(spec.sparse), len(spec.numeric)
        network = PlainAutoInt(size * fields[0], fields, dim, model.layers, model.heads, model.units, form)
        network.load_state_dict(learner.model.state_dict(), strict=False)
        for number, field in enumerate(spec.sparse):
            ids_U = np.unique(np.concatenate([one.ids[field.name].values for one in learned]))
            rows_UD = learner.store.lookup(field.table, ids_U, now=0).values_ND
            network.embedding.weight.data[torch.from_numpy(ids_U.astype(np.int64)) + number * size] = torch.from_numpy(
                rows_UD.copy()
            )
        self._trainer = PlainTrainer(network, configured.training.dense_lr, configured.training.sparse_lr)
        self._batches = [self._plain(one, [field.name for field in spec.sparse], size) for one in learned]

    @staticmethod
    def _plain(one: TrainingBatch, names: Sequence[str], size: int) -> PlainBatch:
        rows_BF = np.stack([one.ids[name].values.astype(np.int64) for name in names], 1)
        rows_BF += np.arange(len(names)) * size
        return PlainBatch(*map(torch.from_numpy, (rows_BF, one.numeric_BN, one.labels_B)))

    def scores(self) -> list[np.ndarray[Any, Any]]:
        """Probabilities [B] of each batch, before it is learned from."""
        return [torch.sigmoid(self._trainer.step(one)).numpy() for one in self._batches]

    def turn(self, steps: int) -> Callable[[], None]:
        """So many steps a call, over the batches again and again."""
        following = cycle(self._batches)

        def work() -> None:
            for _ in range(steps):
                self._trainer.step(next(following))

        return work

    def flops_a_row(self) -> float:
        """Of the matrix products of a step, forward and backward, for a row of the batch."""
        counter = FlopCounterMode(display=False)
        with counter:
            self._trainer.step(self._batches[0])
        return counter.get_total_flops() / len(self._batches[0].labels_B)


def fastest(learner: Learner, configured: Config, learned: Sequence[TrainingBatch]) -> tuple[Form, Peer]:
    """The peer in the form whose step takes the least CPU time."""

    peers = {form: Peer(learner, configured, learned, form) for form in Form.all()}
    seconds = interleave({str(form): peer.turn(1) for form, peer in peers.items()}, rounds=2)
    best = min(peers, key=lambda form: min(seconds[str(form)]))
    return best, peers[best]
