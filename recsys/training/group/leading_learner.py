"""The learner of a group of processes, as the process that leads them uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recsys.training.dense.peers import Scores
from recsys.training.group.calls import Call
from recsys.training.group.channel import Channel
from recsys.training.group.group_peers import GroupPeers
from recsys.training.group.led_store import LedStore
from recsys.training.group.worker_figures import WorkerFigures
from recsys.training.learner import Learner
from streaming.encode.batch import TrainingBatch


class LeadingLearner(Learner):
    """A `Learner` in rank 0; the other ranks, each with a `GroupMember`, learn from every batch with it.

    Everything else that trains, evaluates, saves or publishes uses it as any learner: only here is it known that there
    are several processes. `arguments` are those of `Learner`, the same in all processes.
    """

    def __init__(self, *arguments: Any, channel: Channel, figures: WorkerFigures, **options: Any) -> None:
        super().__init__(*arguments, **options, peers=GroupPeers(channel.ranks))
        self._channel, self._figures = channel, figures
        self.store = LedStore(self.store, channel)  # a step reads the layer's own, in all processes at once

    def step(self, batch: TrainingBatch, *, scored: bool = True) -> Scores:
        self._channel.send(Call("step", (int(scored),), batch))
        self._figures.learned(len(batch))
        return super().step(batch, scored=scored)

    def score(self, batch: TrainingBatch) -> Scores:
        self._channel.send(Call("score", batch=batch))
        return super().score(batch)

    def load_weights(self, folder: Path) -> None:
        """As `Learner.load_weights`, in all processes: each reads `folder`."""
        self._channel.send(Call("load_weights", (str(folder),)))
        super().load_weights(folder)

    def workers(self) -> dict[str, dict[str, Any]]:
        self._channel.send(Call("figures"))
        return self._figures.of_all()

    def dismiss(self) -> None:
        """Let the other processes end."""
        self._channel.send(Call("end"))
