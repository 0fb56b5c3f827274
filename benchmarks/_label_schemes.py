"""Schemes of giving labels out, and the losses that go with them. Shape suffixes: B training rows, T tasks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import softplus

from benchmarks._planted_log import PlantedLog
from recsys import wiring
from recsys.config.schema import Config
from recsys.training.learner import Learner
from recsys.training.loss import Loss, own_task
from recsys.wiring.learning import made
from streaming.encode.batch import TrainingBatch
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.feed import Feed
from streaming.join.click_delays import ClickDelays
from streaming.join.joiner import Joiner, LabelRule


class FixedAge(ClickDelays):
    """Silence is learned at one age (ms), whatever the clicks do."""

    def __init__(self, wait: int, age: int) -> None:
        super().__init__(wait)
        self._age = age
        self.counts.ages[:] = age

    def draw_ages(self) -> npt.NDArray[np.int64]:
        return np.full_like(self.counts.ages, self._age)


class ImportanceWeighted:
    r"""The log loss of clicks and of silence, whether a click comes after it or not, weighted to be that of the truth.

    Of what is clicked, the share s comes after its silence was learned. Then an observed row is positive with the
    probability p / (1 + s p), and a silent one is truly so with t = (1 - p) / (1 - p + s p). Positive rows weigh
    1 + s p, silent ones (1 + s p) t, with the model's own p as a constant. With s = 1, silence learned at once, these
    are the weights 1 + p and (1 + p)(1 - p) of FNW (Ktena et al., RecSys 2019); else those of ES-DFM (Yang et al., AAAI
    2021), whose two networks for s p and t know here all that they could learn: the planted delays, equal for all
    items.
    """

    def __init__(self, late: float) -> None:
        self._late = late

    def __call__(self, logits_BT: torch.Tensor, batch: TrainingBatch) -> torch.Tensor:
        z_B = own_task(logits_BT, torch.from_numpy(batch.tasks_B))
        p_B, clicked_B = torch.sigmoid(z_B.detach()), torch.from_numpy(batch.labels_B)
        late_B = self._late * p_B
        truly_B = (1 - p_B) / (1 - p_B + late_B)
        return ((1 + late_B) * (clicked_B * softplus(-z_B) + (1 - clicked_B) * truly_B * softplus(z_B))).mean()


@dataclass(frozen=True, slots=True)
class Scheme:
    """When labels are learned, and by which loss."""

    labels: Literal["paced", "held"] = "paced"
    age: Callable[[PlantedLog], float] | None = None
    """The age (s) at which silence is learned, if at a fixed one."""
    late: Callable[[PlantedLog], float] | None = None
    """The share of clicks after it, for importance weights; without, the click corrects the silence."""
    knows: bool = False
    """Whether clicks are known when the list is shown."""


def _median(planted: PlantedLog) -> float:
    return math.log(2) * planted.delay


SCHEMES = {
    "paced": Scheme(),
    "at once": Scheme(age=lambda _: 0.0),
    "FNW": Scheme(age=lambda _: 0.0, late=lambda _: 1.0),
    "ES-DFM": Scheme(age=_median, late=lambda _: 0.5),
    "after wait": Scheme(age=lambda _: math.inf),
    "held": Scheme(labels="held"),
    "oracle": Scheme(age=lambda _: 0.001, knows=True),
}


def feed_of(config: Config, planted: PlantedLog, scheme: Scheme) -> Feed:
    wait, lateness = config.training.wait, config.training.lateness
    age = None if scheme.age is None else FixedAge(wait, int(min(scheme.age(planted) * 1000, wait)))
    joiner = Joiner(LabelRule(), wait, lateness, labels=scheme.labels, delays=age)
    encoder = Encoder(wiring.spec(config))
    log = planted.known if scheme.knows else planted.log
    return Feed(log, joiner, EntityState(1000), encoder, config.training.batch_size)


def learner_of(config: Config, planted: PlantedLog, scheme: Scheme) -> Learner:
    loss: dict[str, Loss] = {} if scheme.late is None else {"loss": ImportanceWeighted(scheme.late(planted))}

    def build(*arguments: Any, **options: Any) -> Learner:
        return Learner(*arguments, **options | loss)

    return made(build, config, wiring.store(config))
