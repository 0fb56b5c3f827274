"""The model and its rows as one thing that scores and learns.

Shape suffixes: B rows, N numeric fields.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from embedding.store import EmbeddingStore
from recsys.models.base import RankingModel
from recsys.training.embedding_layer import EmbeddingLayer
from recsys.training.loss import log_loss
from streaming.encode.batch import TrainingBatch
from streaming.encode.feature_spec import FeatureSpec

Scores = npt.NDArray[np.float32]

_DENSE = "dense.safetensors"
_ROWS = "rows"
EXPIRE_EVERY = 3_600_000
"""Event time (ms) between two sweeps for expired ids."""


class Learner:
    """One model learning online: dense weights by Adam, rows by the store's own optimizer.

    Loss: `recsys.training.loss.log_loss`. All randomness comes from `seed`, so that the same batches
    give the same bits.
    """

    def __init__(self, spec: FeatureSpec, model: RankingModel, store: EmbeddingStore, *, dense_lr: float, seed: int):
        self.spec = spec
        self.model = model
        self.store = store
        self.steps = 0
        self._expired_at = 0
        self._layer = EmbeddingLayer(store, spec)
        self._optimizer = torch.optim.Adam(model.parameters(), lr=dense_lr)
        torch.manual_seed(seed)  # dropout masks

    def step(self, batch: TrainingBatch) -> Scores:
        """Learn from a batch; returns the click probabilities from before the update, nothing dropped."""
        embedded = self._layer.lookup(batch.ids, batch.now)
        numeric_BN = torch.from_numpy(batch.numeric_BN)
        scores_B = self._evaluate(embedded.embedded_BFD, numeric_BN) if self.model.drops else None
        self.model.train()
        logits_B = self.model(embedded.embedded_BFD, numeric_BN)
        loss = log_loss(logits_B, *map(torch.from_numpy, (batch.labels_B, batch.counted_B, batch.weights_B)))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._layer.apply(embedded)
        self.steps += 1
        if batch.now - self._expired_at >= EXPIRE_EVERY:
            self._expired_at = batch.now
            self.store.expire(batch.now)
        return _probabilities(logits_B) if scores_B is None else scores_B

    def score(self, batch: TrainingBatch) -> Scores:
        """Click probabilities; changes nothing."""
        return self._evaluate(self._layer.peek(batch.ids).embedded_BFD, torch.from_numpy(batch.numeric_BN))

    def save(self, folder: Path) -> None:
        """Write dense weights, optimizer state, random state and rows."""
        save_file(self._dense_state(), folder / _DENSE, {"model": self._options()})
        (folder / _ROWS).mkdir()
        self.store.save(folder / _ROWS)

    def load(self, folder: Path) -> None:
        """Take over what `save` wrote. Raises ValueError when it belongs to another model or other tables."""
        self._check_options(folder / _DENSE)
        state = load_file(folder / _DENSE)
        self._load_dense(state, folder / _DENSE)
        self.store.load(folder / _ROWS)

    def digest(self) -> str:
        """Hash of dense weights, optimizer state, random state and rows."""
        digest = hashlib.sha256(self.store.digest().encode())
        for name, tensor in sorted(self._dense_state().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _options(self) -> str:
        """What the function that the weights belong to depends on: not on what is dropped in training."""
        options = {name: value for name, value in asdict(self.model.config).items() if not name.endswith("dropout")}
        return json.dumps({"name": type(self.model).__name__, **options}, sort_keys=True)

    def _check_options(self, file: Path) -> None:
        """Weights of another number of heads would fit, and mean something else."""
        with safe_open(file, framework="pt") as opened:
            written = (opened.metadata() or {}).get("model", self._options())
        if written != self._options():
            raise ValueError(f"{file} belongs to the model {written}, not {self._options()}")

    def _evaluate(self, embedded_BFD: torch.Tensor, numeric_BN: torch.Tensor) -> Scores:
        self.model.eval()
        with torch.inference_mode():
            return _probabilities(self.model(embedded_BFD, numeric_BN))

    def _dense_state(self) -> dict[str, torch.Tensor]:
        state = {f"model.{name}": tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        for index, moments in self._optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        state["random"] = torch.get_rng_state()
        state["clocks"] = torch.tensor([self.steps, self._expired_at])
        return state

    def _load_dense(self, state: dict[str, torch.Tensor], file: Path) -> None:
        weights = {name.removeprefix("model."): t for name, t in state.items() if name.startswith("model.")}
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"{file} belongs to another model: {error}") from None
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in state.items():
            if name.startswith("optimizer."):
                _, index, moment = name.split(".")
                moments.setdefault(int(index), {})[moment] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        torch.set_rng_state(state["random"])
        self.steps, self._expired_at = state["clocks"].tolist()


def _probabilities(logits_B: torch.Tensor) -> Scores:
    return torch.sigmoid(logits_B.detach()).numpy()
