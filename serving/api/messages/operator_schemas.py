"""Answers for those who run the server, beside those of `serving.api.messages.schemas` for clients."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.erasure.place import Finding
from serving.experiments.counts.judged_experiments import JudgedExperiments
from serving.experiments.summary import ExperimentSummary
from serving.model.measured_precision import MeasuredPrecision


class ErasureResponse(msgspec.Struct, frozen=True):
    """What each place had of the user and has now. Checkpoints of trainers are not among them: see `recsys forget`."""

    user: str
    places: list[Finding]
    left: int
    """How much there is still, in all places."""


class ExperimentsResponse(msgspec.Struct, frozen=True):
    """Results of the experiments; with `redis` in `degraded`, those of the last time that Redis answered.

    `experiments` are counters of what this and other servers see; `judged` is what the event log said when `recsys
    experiments --publish` last ran, which decides.
    """

    experiments: list[ExperimentSummary]
    degraded: list[str]
    judged: JudgedExperiments | None = None


class TrainerState(msgspec.Struct, frozen=True):
    """What a model's trainer published about itself; `age` is how long ago, in seconds.

    `not_served` is a sentence if servers follow another run than the trainer's; otherwise empty.
    """

    age: float
    status: dict[str, Any]
    not_served: str = ""


class ReadyResponse(msgspec.Struct, frozen=True):
    """Whether every model that an arm needs is loaded; `missing` says by model why it is not."""

    ready: bool
    missing: dict[str, str]
    trainer: dict[str, TrainerState]
    """By model; models that are not trained have none."""
    precision: dict[str, MeasuredPrecision] = msgspec.field(default_factory=dict)
    """By model, what it scores in, where `precision` is not float32, in the process that was reached."""
    engine: dict[str, str] = msgspec.field(default_factory=dict)
    """By model, what computes its scores in the process that was reached: `openvino`, `onnxruntime` or `numba`."""
    processes: dict[str, str] = msgspec.field(default_factory=dict)
    """Of several server processes, by number: `ready`, what is missing, or that it does not answer, which is then asked
    for nothing else either."""
