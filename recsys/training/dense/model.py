"""The dense weights of a model, with what trains and averages them.

Shape suffixes: B training rows, N numeric fields, T tasks.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch

from recsys.errors import InvalidValueError
from recsys.models.base import RankingModel
from recsys.training.dense.adam import Adam
from recsys.training.dense.averaging import AveragedModel
from recsys.training.dense.batch_parts import cut, rows_a_part
from recsys.training.dense.peers import Peers, Scores
from recsys.training.dense.randomness import randomness
from recsys.training.dense.soundness import sound
from recsys.training.embedding_layer import Embedded
from recsys.training.loss import Loss, own_task
from streaming.encode.batch import TrainingBatch


class DenseModel:
    """`model` learning by Adam, and the mean of its weights over steps (`averaging`, see `AveragedModel`).

    Dropout masks come from `generator` alone. Gradients are summed over `peers`.
    """

    def __init__(
        self, model: RankingModel, loss: Loss, *, lr: float, generator: torch.Generator, averaging: float, peers: Peers
    ) -> None:
        self.model = model
        self._peers = peers
        self._loss = loss
        self._lr = lr
        self._optimizer = Adam(model.parameters(), lr=lr)
        self._generator = generator
        self._averaged = AveragedModel(model, averaging)
        self._part_rows = rows_a_part(model)
        self._weights = list(model.parameters())
        self._buffers = list(model.buffers())

    @property
    def served(self) -> RankingModel:
        """The model to score with."""
        return self._averaged.model

    def scale_rate(self, factor: float) -> None:
        """Multiply the learning rate given at first by `factor`, until it is set again."""
        self._optimizer.lr = self._lr * factor

    def statistics(self) -> list[torch.Tensor]:
        """Copies of what forward passes of training have changed: running means of batch norm."""
        return [buffer.clone() for buffer in self._buffers]

    def restore_statistics(self, statistics: list[torch.Tensor]) -> None:
        """Restore what `statistics` returned."""
        for buffer, before in zip(self._buffers, statistics, strict=True):
            buffer.copy_(before)

    def step(self, number: int) -> None:
        """Apply the gradients of the `number`th step."""
        self._optimizer.step()
        self._averaged.update(number)

    def gradients(
        self, batch: TrainingBatch, embedded: Embedded, numeric_BN: torch.Tensor
    ) -> tuple[torch.Tensor, bool]:
        """Logits [B, T] for training, and whether loss and gradients are sound."""
        embedded.forget_gradient()
        self._optimizer.zero_grad()
        logits_BT, loss = self._backward(batch, embedded, numeric_BN)
        dense = [weight.grad for weight in self._weights if weight.grad is not None]
        self._peers.add_up(dense)
        own = loss, *([] if (grad := embedded.gradient_BS) is None else [grad])
        return logits_BT, not self._peers.any(not sound([*own, *dense]))

    def _backward(
        self, batch: TrainingBatch, embedded: Embedded, numeric_BN: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [B, T] for training, and the loss; gradients of the parts of the batch add up."""
        size = self._part_rows
        batches = [batch] if size is None or len(batch) <= size else batch.cut(size)
        parts = cut(embedded, numeric_BN, size, learns=True)
        logits, losses = [], []
        if not self.model.training:  # which goes through all modules
            self.model.train()
        with randomness(self._peers.generator(self._generator)) if self.model.drops else nullcontext():
            for own, part in zip(batches, parts, strict=True):
                logits_BT = part.logits(self.model)
                loss = (self._loss(logits_BT, own) + self._penalty(own)) * (len(own) / len(batch))
                loss.backward()  # type: ignore[no-untyped-call]
                logits.append(logits_BT.detach())
                losses.append(loss.detach())
        return torch.cat(logits), torch.stack(losses).sum()

    def _penalty(self, batch: TrainingBatch) -> torch.Tensor | float:
        """The model's own part of the loss: a mean over the rows of `batch`, weighted as they are."""
        penalty_B = self.model.penalty()
        return 0.0 if penalty_B is None else (torch.from_numpy(batch.weights_B) * penalty_B).mean()

    def scores(self, embedded: Embedded, numeric_BN: torch.Tensor, batch: TrainingBatch) -> Scores:
        """Probabilities [B] by the served model; those of unknown inputs where its logits are not finite."""
        model = self.served.eval() if self.served.training else self.served
        with torch.inference_mode():
            parts = cut(embedded, numeric_BN, self._part_rows, learns=False)
            logits_BT = torch.cat([part.logits(model) for part in parts])
            broken_B = ~torch.isfinite(logits_BT).all(1)
            if broken_B.any():
                unknown = torch.zeros_like(embedded.embedded_BFD[:1]), torch.zeros_like(numeric_BN[:1])
                logits_BT[broken_B] = model(*unknown)
            return probabilities(logits_BT, batch)

    def state(self) -> dict[str, torch.Tensor]:
        """Weights, their mean, optimizer state and random state."""
        state = {f"model.{name}": tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        state |= {f"averaged.{name}": tensor.contiguous() for name, tensor in self._averaged.state().items()}
        state |= {f"optimizer.{name}": tensor for name, tensor in self._optimizer.state().items()}
        return state | {"random": self._generator.get_state()}

    def restore(self, state: dict[str, torch.Tensor], file: Path) -> None:
        """Restore what `state` returned. Raises InvalidValueError, naming `file`, if it is of another model."""
        try:
            self.model.load_state_dict(under("model.", state))
        except RuntimeError as error:
            raise InvalidValueError(f"{file} is of another model: {error}") from None
        self._averaged.restore(under("averaged.", state))
        self._optimizer.restore(under("optimizer.", state))
        self._generator.set_state(state["random"])


def under(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with `prefix`, by the rest of the name."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def probabilities(logits_BT: torch.Tensor, batch: TrainingBatch) -> Scores:
    """[B], of each row's own task; 0.5 where the logit is NaN, which only broken weights cause."""
    own_B = own_task(logits_BT.detach(), torch.from_numpy(batch.tasks_B))
    return torch.nan_to_num(torch.sigmoid(own_B), nan=0.5).numpy()
