"""The versions that trainers publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.training.export import Exporter
from recsys.training.progress import Progress
from recsys.training.publication import Publication
from serving.model.artefact import Artefact
from serving.replication.publisher import Publisher
from streaming.catalog import Catalog
from streaming.encode.entity_state import EntityState


class Recorder:
    """Stands in for publisher and exporter: keeps the artefacts."""

    ready = True

    def __init__(self) -> None:
        self.artefacts: list[Artefact] = []

    def graph(self, _model: object) -> bytes:
        return b"graph"

    def publish_artefact(self, artefact: Artefact) -> None:
        self.artefacts.append(artefact)

    def __getattr__(self, name: str) -> Any:
        assert name.startswith("publish") or name in ("begin", "waits")
        return lambda *_arguments: None


@pytest.fixture
def config() -> Config:
    return parse('[features]\ndim = 4\n[model]\nname = "fm"\n', Path("recsys.toml"))


def published(config: Config, steps: int = 7) -> Artefact:
    """What a trainer publishes that starts at a constant clock and resumes at `steps`."""
    learner, recorder = wiring.learner(config), Recorder()
    learner.steps = steps
    publication = Publication(
        learner,
        cast(Publisher, recorder),
        cast(Exporter, recorder),
        EntityState(5),
        Catalog(half_life=1),
        rows_every=1,
        dense_every=1,
        clock=lambda: 0.0,
        wall_clock=lambda: 0.0,
    )
    publication.start("3f")
    assert publication.publish(Progress(), {}, has_caught_up=True, dense=True)
    (artefact,) = recorder.artefacts
    return artefact


@pytest.mark.slow
def test_no_two_trainers_publish_the_same_label_at_one_step_and_one_time(config: Config) -> None:
    """Restarted, learning anew in the same folder, or beside each other."""
    labels = [published(config).version for _ in range(50)]
    assert len(set(labels)) == 50
    assert all(label.startswith("step-7-") for label in labels)


def test_an_artefact_carries_the_scaling_of_its_numbers(config: Config) -> None:
    artefact = published(config)
    assert Artefact.from_bytes(artefact.to_bytes()) == artefact
    assert artefact.scaling == wiring.learner(config).scaling
