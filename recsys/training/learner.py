"""A model and its embedding rows as one thing that scores and learns.

Shape suffixes: B training rows, N numeric fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from embedding.snapshot.background import BackgroundSave
from embedding.store import EmbeddingStore
from recsys.errors import InvalidValueError
from recsys.models.base import RankingModel
from recsys.training.averaging import AveragedModel
from recsys.training.embedding_layer import EmbeddingLayer
from recsys.training.loss import Loss, weighted_log_loss
from streaming.encode.batch import TrainingBatch
from streaming.encode.feature_spec import FeatureSpec

Scores = npt.NDArray[np.float32]

_DENSE = "dense.safetensors"
_ROWS = "rows"
EXPIRE_EVERY = 3_600_000
"""Event time (ms) between two sweeps for expired ids."""


@runtime_checkable
class _SavesInBackground(Protocol):
    """A store that can write a snapshot of one moment while training goes on."""

    def save_in_background(self, folder: Path | str) -> BackgroundSave: ...


class Learner:
    """One model learning online: dense weights by Adam, embedding rows by the store's own optimizer.

    What is scored, judged and served are the dense weights averaged over steps (`averaging`, see `AveragedModel`).
    Dropout masks come from `generator` alone (a CPU generator), so that the same batches give the same bits.
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
        loss: Loss = weighted_log_loss,
        averaging: float = 0.0,
    ) -> None:
        self.spec = spec
        self.model = model
        self.store = store
        self.steps = 0
        self._expired_at = 0
        self._layer = EmbeddingLayer(store, spec)
        model.check_dims({name: table.dim for name, table in store.tables.items() if name in self._layer.tables})
        self._optimizer = torch.optim.Adam(model.parameters(), lr=dense_lr)
        self._generator = generator
        self._loss = loss
        self._averaged = AveragedModel(model, averaging)

    @property
    def served_model(self) -> RankingModel:
        """The model to score with."""
        return self._averaged.model

    def step(self, batch: TrainingBatch) -> Scores:
        """Learn from a batch; returns the click probabilities [B] that `score` would have given before."""
        embedded = self._layer.lookup(batch.ids, batch.now)
        numeric_BN = torch.from_numpy(batch.numeric_BN)
        own = self.served_model is self.model and not self.model.drops
        scores_B = None if own else self._evaluate(embedded.embedded_BFD, numeric_BN)
        logits_B = self._forward(embedded.embedded_BFD, numeric_BN)
        self._optimizer.zero_grad(set_to_none=True)
        self._loss(logits_B, batch).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._layer.apply(embedded)
        self.steps += 1
        self._averaged.update(self.steps)
        if batch.now - self._expired_at >= EXPIRE_EVERY:
            self._expired_at = batch.now
            self.store.expire(batch.now)
        return _probabilities(logits_B) if scores_B is None else scores_B

    def score(self, batch: TrainingBatch) -> Scores:
        """Click probabilities [B]; changes nothing."""
        return self._evaluate(self._layer.peek(batch.ids).embedded_BFD, torch.from_numpy(batch.numeric_BN))

    def begin_save(self, folder: Path) -> Callable[[], None]:
        """Capture the state of this moment; the function returned writes it into `folder`, from any thread.

        Training may go on meanwhile if the store saves in the background; any other store is written here and now.
        Raises ValueError while an earlier snapshot of the store is still being written.
        """
        dense = {name: tensor.clone() for name, tensor in self._dense_state().items()}
        options = {"model": self._options()}
        rows = folder / _ROWS
        rows.mkdir()
        saving = self.store.save_in_background(rows) if isinstance(self.store, _SavesInBackground) else None
        if saving is None:
            self.store.save(rows)

        def write() -> None:
            try:
                save_file(dense, folder / _DENSE, options)
            finally:
                if saving is not None:
                    saving.result()

        return write

    def save(self, folder: Path) -> None:
        """Write dense weights, optimizer state, random state and embedding rows into `folder`."""
        self.begin_save(folder)()

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote. Raises ValueError if it is of another model or other tables."""
        self._check_options(folder / _DENSE)
        state = load_file(folder / _DENSE)
        self._load_dense(state, folder / _DENSE)
        self.store.load(folder / _ROWS)

    def digest(self) -> str:
        """SHA-256 of dense weights, optimizer state, random state and embedding rows."""
        digest = hashlib.sha256(self.store.digest().encode())
        for name, tensor in sorted(self._dense_state().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _options(self) -> str:
        """The options that decide what the weights mean; dropout does not."""
        options = {name: value for name, value in self.model.config if not name.endswith("dropout")}
        return json.dumps(options, sort_keys=True)

    def _check_options(self, file: Path) -> None:
        """Shapes are not enough: the weights of another number of heads would fit."""
        with safe_open(file, framework="pt") as opened:
            written = (opened.metadata() or {}).get("model", self._options())
        if written != self._options():
            raise InvalidValueError(f"{file} is of the model {written}, not {self._options()}")

    def _forward(self, embedded_BFD: torch.Tensor, numeric_BN: torch.Tensor) -> torch.Tensor:
        """Logits [B] for training."""
        self.model.train()
        with self._own_randomness():
            logits_B: torch.Tensor = self.model(embedded_BFD, numeric_BN)
        return logits_B

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Let torch draw dropout masks from the generator; none of its operations that drop takes one."""
        if not self.model.drops:
            yield
            return
        outside = torch.get_rng_state()
        torch.set_rng_state(self._generator.get_state())
        try:
            yield
        finally:
            self._generator.set_state(torch.get_rng_state())
            torch.set_rng_state(outside)

    def _evaluate(self, embedded_BFD: torch.Tensor, numeric_BN: torch.Tensor) -> Scores:
        self.served_model.eval()
        with torch.inference_mode():
            return _probabilities(self.served_model(embedded_BFD, numeric_BN))

    def _dense_state(self) -> dict[str, torch.Tensor]:
        state = {f"model.{name}": tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        state |= {f"averaged.{name}": tensor.contiguous() for name, tensor in self._averaged.state().items()}
        for index, moments in self._optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        state["random"] = self._generator.get_state()
        state["clocks"] = torch.tensor([self.steps, self._expired_at])
        return state

    def _load_dense(self, state: dict[str, torch.Tensor], file: Path) -> None:
        weights = {name.removeprefix("model."): t for name, t in state.items() if name.startswith("model.")}
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise InvalidValueError(f"{file} is of another model: {error}") from None
        self._averaged.restore(
            {name.removeprefix("averaged."): t for name, t in state.items() if name.startswith("averaged.")}
        )
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in state.items():
            if name.startswith("optimizer."):
                _, index, moment = name.split(".")
                moments.setdefault(int(index), {})[moment] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self._generator.set_state(state["random"])
        self.steps, self._expired_at = state["clocks"].tolist()


def _probabilities(logits_B: torch.Tensor) -> Scores:
    return torch.sigmoid(logits_B.detach()).numpy()
