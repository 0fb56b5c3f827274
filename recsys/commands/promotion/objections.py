"""What speaks against making a model the champion, apart from how good it is."""

from __future__ import annotations

from collections.abc import Iterator

from recsys.commands.online.status import SILENT
from recsys.config.schema import Config
from serving.experiments.assignment import CHAMPION
from serving.replication.promoter import Candidate
from serving.replication.trainer_status import TrainerStatus
from streaming.encode.feature_spec import FeatureSpec

_REQUEST = "request."


def objections(
    config: Config, candidate: Candidate, champion: Candidate | None, status: TrainerStatus | None, now: float
) -> Iterator[str]:
    """Sentences, each with a remedy; `now` is in seconds since the epoch."""
    yield from of_trainer(candidate.model, status, now)
    ranked_by = set(config.serving.score).union(*config.serving.scores.values())
    tasks = ranked_by - set(candidate.artefact.tasks)
    if tasks:
        yield (
            f"{candidate.model!r} does not predict {', '.join(sorted(tasks))}, which [serving] score ranks by: train "
            "it with the same [[tasks]]"
        )
    if champion is not None:
        own = _of_request(candidate.artefact.spec) - _of_request(champion.artefact.spec)
        if own:
            yield (
                f"{candidate.model!r} reads {', '.join(sorted(own))}, which {champion.model!r} does not: "
                "let clients send it, or updates of users bring it, first"
            )


def of_trainer(model: str, status: TrainerStatus | None, now: float) -> Iterator[str]:
    """Of a model's trainer; a frozen model has none."""
    if status is None:
        return
    if not status.status.get("caught_up", True):
        lag = status.status.get("lag_events", 0)
        yield f"the trainer of {model!r} has {lag:,} events of the log to read: wait until it has (`recsys status`)"
    age = now - status.published / 1000
    if age > SILENT:
        yield (
            f"the trainer of {model!r} has said nothing for {age:,.0f} s, and without it the model learns no more: "
            "start it again"
        )


def reached(config: Config) -> list[str]:
    """Who gets the champion's ranking."""
    if not config.experiments:
        return ["all users"]
    return [
        f"arm {arm.name!r} of experiment {experiment.name!r}"
        for experiment in config.experiments
        for arm in experiment.arms
        if arm.model == CHAMPION
    ]


def _of_request(spec: FeatureSpec) -> set[str]:
    return {field.source for field in spec.fields if field.source.startswith(_REQUEST)}
