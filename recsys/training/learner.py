"""A model with its embedding rows: scores batches and learns from them.

Shape suffixes: B training rows, N numeric fields, T tasks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import load_file, save_file

from embedding.snapshot.background import BackgroundSave
from embedding.snapshot.increments import Increments
from embedding.store import EmbeddingStore
from recsys.errors import InvalidValueError
from recsys.models.base import RankingModel
from recsys.training.companions import Companions
from recsys.training.dense.model import DenseModel, probabilities, under
from recsys.training.dense.peers import Peers, Scores
from recsys.training.dense.sound_gradients import SoundGradients
from recsys.training.description import Description
from recsys.training.embedding_layer import EmbeddingLayer
from recsys.training.loss import Loss, WeightedLogLoss
from serving.model.artefact import USER_TABLE
from streaming.encode.batch import TrainingBatch
from streaming.encode.feature_spec import FeatureSpec
from streaming.encode.scaling import RunningMoments, Scaling
from streaming.encode.user_rows import user_ids

DENSE = "dense.safetensors"
ROWS = "rows"
EXPIRE_EVERY = 3_600_000
"""Event time (ms) between two sweeps for expired ids."""


@runtime_checkable
class _SavesInBackground(Protocol):
    """A store that can write a snapshot of one moment while training goes on."""

    def save_in_background(self, folder: Path | str, *, increments: Increments | None = None) -> BackgroundSave: ...


@runtime_checkable
class _ScalesRates(Protocol):
    """A store whose learning rates can follow a schedule."""

    def scale_rates(self, factor: float) -> None: ...


class Learner:
    """One model learning online: dense weights by Adam, embedding rows by the store's own optimizer.

    Scoring, evaluation and serving use the dense weights averaged over steps (`averaging`, see `AveragedModel`).
    Dropout masks come from `generator` alone (a CPU generator), so that the same batches give the same bits.
    `tasks` are the names of the model's tasks, in the order of its logits; by default all count alike in the loss.
    `peers` are the processes that learn from the same batches, each from its share of the rows; `beside` is what else
    learns from them.
    Raises InvalidValueError if a table is missing in `store`, or if its dimension is not the model's.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        model: RankingModel,
        store: EmbeddingStore,
        *,
        dense_lr: float,
        generator: torch.Generator,
        tasks: Sequence[str] = ("click",),
        loss: Loss | None = None,
        averaging: float = 0.0,
        peers: Peers | None = None,
        beside: Companions | None = None,
    ) -> None:
        if len(tasks) != model.tasks:
            raise InvalidValueError(f"the model has logits of {model.tasks} tasks, not of {', '.join(tasks)}")
        self.spec = spec
        self.tasks = tuple(tasks)
        self.model = model
        self.store = store
        self.beside = beside or Companions()
        self.steps = 0
        self._expired_at = 0
        self._layer = EmbeddingLayer(store, spec)
        model.check_dims({name: table.dim for name, table in store.tables.items() if name in self._layer.tables})
        loss = loss or WeightedLogLoss((1.0,) * len(tasks))
        self._peers = peers or Peers()
        self._dense = DenseModel(model, loss, lr=dense_lr, generator=generator, averaging=averaging, peers=self._peers)
        self._moments = RunningMoments(spec.numeric)
        self._gradients = SoundGradients(spec, self._dense, self._peers)

    @property
    def served_model(self) -> RankingModel:
        """The model to score with."""
        return self._dense.served

    def scale_rates(self, factor: float) -> None:
        """Multiply the learning rates of dense weights and embedding rows by `factor`, until it is set again.

        It is no part of what is saved. Raises InvalidValueError if the store's rates cannot follow.
        """
        if not isinstance(self.store, _ScalesRates):
            raise InvalidValueError(f"the learning rates of {type(self.store).__name__} cannot follow a schedule")
        self._dense.scale_rate(factor)
        self.store.scale_rates(factor)

    def step(self, batch: TrainingBatch, *, scored: bool = True) -> Scores:
        """Learn from a batch; returns the probabilities [B] that `score` would have given before.

        Each is the probability of a positive label for the row's own task. Unless it is to be `scored`, the
        probabilities are those of the forward pass that is learned from, by the newest weights and with dropout: that
        saves a second pass.

        Numbers are scaled by their moments including this batch, because they are known before the labels are. Rows
        whose loss or gradient is not finite are left out and counted in `left_out`; they are scored as rows of which
        nothing is known. All scores are finite.
        """
        self._moments.add(batch.numeric_BN[batch.counted_B > 0])
        self.steps += 1
        debiased = self.beside.debiasing.learned(batch)
        if self.beside.negatives is None:
            scores_B = self._learn(debiased, scored=scored)
        else:
            scores_B = self._score(batch)
            sampled = self.beside.negatives.learned(debiased, scores_B)
            if sampled is not None:
                self._learn(sampled, scored=False)
        self.beside.step(batch, self.scaling)
        if batch.now - self._expired_at >= EXPIRE_EVERY:
            self._expired_at = batch.now
            self._layer.store.expire(batch.now)
        return scores_B

    def _learn(self, batch: TrainingBatch, *, scored: bool) -> Scores:
        """The gradient step on rows as they are to be learned, and their probabilities [B]; see `step`."""
        own = self._peers.share(batch)
        embedded = self._layer.lookup(own.ids, batch.now)
        numeric_BN = self._numbers(own)
        learnable, logits_BT = self._gradients.find(own, embedded, numeric_BN)
        trains_as_scored = not self.model.drops and not self.model.mixes_rows
        same = not scored or (self.served_model is self.model and trains_as_scored)
        scores_B = None if same else self._dense.scores(embedded, numeric_BN, own)
        if learnable:
            self._dense.step(self.steps)
            self._layer.apply(embedded)
        scores_B = probabilities(logits_BT, own) if scores_B is None else scores_B
        return self._peers.scores(scores_B, len(batch))

    def forget(self, users: Sequence[str]) -> int:
        """Drop the embedding rows of these users; returns how many there were.

        What dense weights and rows of items have learned from them stays.
        """
        if not users:
            return 0
        ids = user_ids(self.spec, users)
        names = {table: table.removeprefix(USER_TABLE) for table in self.store.tables}
        return sum(self.store.forget(table, ids[name]) for table, name in names.items() if name in ids)

    def score(self, batch: TrainingBatch) -> Scores:
        """As `step`, but changes nothing."""
        return self._score(batch)

    def _score(self, batch: TrainingBatch) -> Scores:
        """In all processes of a group at once, which `score` tells of it."""
        own = self._peers.share(batch)
        scores_B = self._dense.scores(self._layer.peek(own.ids), self._numbers(own), own)
        return self._peers.scores(scores_B, len(batch))

    @property
    def scaling(self) -> Scaling:
        """The current scaling of numeric fields: constants that are exported with the graph."""
        return self._moments.scaling()

    @property
    def left_out(self) -> dict[str, int]:
        """Rows not learned from because their loss or gradient was not finite, by field."""
        return self._gradients.unsound.by_field

    def workers(self) -> dict[str, dict[str, Any]]:
        """Figures of each process that learns, by its number; empty where this one learns alone."""
        return {}

    def begin_save(self, folder: Path, increments: Increments | None = None) -> Callable[[], None]:
        """Capture the current state; the function returned writes it into `folder`, from any thread.

        Training may go on meanwhile if the store saves in the background; any other store is written here and now, and
        in full. `increments` is leave to write only the embedding rows that changed.
        Raises ValueError while an earlier snapshot of the store is still being written.
        """
        dense = {name: tensor.clone() for name, tensor in self.dense_state().items()}
        described = self.description.to_metadata()
        rows = folder / ROWS
        rows.mkdir()
        saving = None
        if isinstance(self.store, _SavesInBackground):
            saving = self.store.save_in_background(rows, increments=increments)
        else:
            self.store.save(rows)

        def write() -> None:
            try:
                save_file(dense, folder / DENSE, described)
            finally:
                if saving is not None:
                    saving.result()

        return write

    def save(self, folder: Path) -> None:
        """Write dense weights, optimizer state, random state and embedding rows into `folder`."""
        self.begin_save(folder)()

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote. Raises InvalidValueError if fields, model or tables differ."""
        self.load_weights(folder)
        self.store.load(folder / ROWS)

    def load_weights(self, folder: Path) -> None:
        """As `load`, without the embedding rows."""
        self.description.check(Description.read(folder / DENSE), folder.parents[1])
        self.load_dense(load_file(folder / DENSE), folder / DENSE)

    def digest(self) -> str:
        """SHA-256 of dense weights, optimizer state, random state and embedding rows."""
        digest = hashlib.sha256(self.store.digest().encode())
        for name, tensor in sorted(self.dense_state().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def description(self) -> Description:
        """What the weights mean."""
        towers = self.beside.retrieval
        retrieval = None if towers is None else towers.options.description
        return Description.of(self.spec, self.model, self.tasks, retrieval)

    def _numbers(self, batch: TrainingBatch) -> torch.Tensor:
        return torch.from_numpy(self.scaling.apply(batch.numeric_BN))

    def dense_state(self) -> dict[str, torch.Tensor]:
        """Everything but the embedding rows."""
        moments = {f"moments.{name}": torch.from_numpy(values_N) for name, values_N in self._moments.state().items()}
        clocks = torch.tensor([self.steps, self._expired_at])
        left_out = self._gradients.unsound.counts_M
        return self._dense.state() | moments | self.beside.state() | {"left_out": left_out, "clocks": clocks}

    def load_dense(self, state: dict[str, torch.Tensor], file: Path) -> None:
        """Restore what `dense_state` returned; errors name `file`, from which it was read."""
        self._dense.restore(state, file)
        self._moments.restore({name: tensor.numpy() for name, tensor in under("moments.", state).items()})
        self.beside.restore(state)
        self._gradients.unsound.counts_M = state["left_out"]
        self.steps, self._expired_at = state["clocks"].tolist()
