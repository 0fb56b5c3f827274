"""The versions that trainers publish."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.errors import FileError
from recsys.training.export.exporter import Exporter
from recsys.training.progress import Progress
from recsys.training.publishing.publication import Publication
from serving.model.artefact import Artefact
from serving.replication.publish.publisher import Publisher
from serving.replication.publish.served_run import Rival
from serving.replication.takeovers import Takeover
from streaming.catalog import Catalog
from streaming.encode.entity_state import EntityState
from tests.recsys.training.test_progress import batch_of


class Recorder:
    """Stands in for publisher and exporter: keeps artefacts and statuses."""

    ready = True
    runs = SimpleNamespace(rival=lambda: None)
    facts = SimpleNamespace(owned=lambda caught_up: True, layouts_of_champion=frozenset)

    def __init__(self) -> None:
        self.artefacts: list[Artefact] = []
        self.statuses: list[dict[str, Any]] = []
        self.called: list[str] = []

    def graph(self, _model: object) -> bytes:
        return b"graph"

    def publish_artefact(self, artefact: Artefact) -> None:
        self.artefacts.append(artefact)

    def publish_status(self, status: dict[str, Any]) -> None:
        self.statuses.append(status)

    def __getattr__(self, name: str) -> Any:
        assert name.startswith("publish") or name in ("begin", "forget_catalog")
        self.called.append(name)
        return lambda *_arguments: None


@pytest.fixture
def config() -> Config:
    return parse('[features]\ndim = 4\n[model]\nname = "fm"\n', Path("recsys.toml"))


def publishing(config: Config, steps: int = 7) -> tuple[Publication, Recorder]:
    """The publication of a trainer that starts at a constant clock and resumes at `steps`, and what it publishes."""
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
    return publication, recorder


def published(config: Config) -> Artefact:
    """What such a trainer publishes."""
    publication, recorder = publishing(config)
    assert publication.publish(Progress(), {}, has_caught_up=True, dense=True)
    (artefact,) = recorder.artefacts
    return artefact


def reported() -> dict[str, Any]:
    """The status of a trainer with every figure: a checkpoint, rows left out, two labels."""
    publication, recorder = publishing(parse('[features]\ndim = 4\n[model]\nname = "fm"\n', Path("recsys.toml")))
    progress = Progress()
    progress.add(batch_of(4), np.full(4, 0.5, np.float32), events=6, lag=2)
    report = {
        "checkpoint": {"step": 7, "written": 1, "copy": {"step": 7, "written": 1, "failed": 0}},
        "left_out": {"price": 1},
    }
    assert publication.publish(progress, report, has_caught_up=True)
    (status,) = recorder.statuses
    return status


def test_the_status_has_the_figures_that_are_defined() -> None:
    status = reported()
    assert (status["run"], status["step"], status["lag_events"]) == ("3f", 7, 2)
    assert status["tasks"]["click"] == pytest.approx(
        {"auc": 0.5, "log_loss": math.log(2), "calibration": 1.0, "normalised_entropy": 1.0}
    )
    assert status["tables"]["item"]["live"] == 0


def test_the_status_has_what_learns_beside_the_model() -> None:
    settings = """
[features]
dim = 4
fields = [
  { name = "user", source = "user" },
  { name = "item", source = "item" },
  { name = "kind", source = "item.kind" },
]
[model]
name = "fm"
[training]
ssl = { method = "rfm" }
negatives = { rate = 0.5 }
debiasing = { balance = "random" }
[retrieval]
two_tower = true
"""
    publication, recorder = publishing(parse(settings, Path("recsys.toml")))
    assert publication.publish(Progress(), {}, has_caught_up=True)
    status = recorder.statuses[0]
    assert status["negatives"] == {"negatives": 0, "learned": 0}
    assert status["debiasing"].keys() >= {"drawn", "clipped", "certain", "gap_before", "gap_after"}
    assert status["ssl"] == {"steps": 0, "left_out": 0, "pool": 0}
    assert status["retrieval"]["steps"] == 0


def test_figures_that_are_not_defined_are_left_out(config: Config) -> None:
    publication, recorder = publishing(config)
    assert publication.publish(Progress(), {}, has_caught_up=True)
    assert recorder.statuses[0]["tasks"] == {"click": {}}


def test_a_run_that_servers_leave_while_its_trainer_runs_brings_only_what_all_models_share(config: Config) -> None:
    """As after `recsys rollback`, and until the next one."""
    publication, recorder = publishing(config)
    assert publication.publish(Progress(), {}, has_caught_up=True, dense=True)
    assert recorder.statuses[-1]["serves"]
    back = Takeover("aa", "3f", 0, "ada@here", rolled_back=True)
    recorder.runs = SimpleNamespace(rival=lambda: Rival("aa", {}, back))
    recorder.called.clear()
    assert publication.publish(Progress(), {}, has_caught_up=True, dense=True)
    assert set(recorder.called) >= SHARED
    assert "publish" not in recorder.called
    assert len(recorder.artefacts) == 1
    status = recorder.statuses[-1]
    assert not status["serves"]
    assert status["waits"] == "ada@here has gone back from it: `recsys rollback` serves it again"
    recorder.runs = SimpleNamespace(rival=lambda: None)
    assert publication.publish(Progress(), {}, has_caught_up=True, dense=True)
    assert "publish" in recorder.called
    assert len(recorder.artefacts) == 2
    assert "waits" not in recorder.statuses[-1]


def test_after_redis_was_emptied_a_run_that_waited_brings_what_it_had_brought_before(config: Config) -> None:
    publication, recorder = publishing(config)
    publication._shared._entities.users.update("ada", 1, {"town": "x"})
    rival = [Rival("aa", {"click": {"normalised_entropy": 0.1}}, None), None]
    brought: list[set[str]] = []
    recorder.publish_entity_changes = lambda users, _items: brought.append(set(users.latest))  # type: ignore[attr-defined]
    for now in (0, 0, 1, 1):
        recorder.runs = SimpleNamespace(rival=lambda now=now: rival[now])
        assert publication.publish(Progress(), {}, has_caught_up=True, dense=True)
    assert brought == [{"ada"}, set(), {"ada"}, set()]


def test_without_room_for_a_delta_of_rows_on_disk_training_goes_on(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publication, recorder = publishing(config)

    def full(*_: object) -> None:
        raise FileError("the folder of rows on disk: /cold: No space left on device; make room on the disk")

    monkeypatch.setattr("embedding.local.store.LocalStore.delta", full)
    assert not publication.publish(Progress(), {}, has_caught_up=True)
    assert "not published, training goes on: the folder of rows on disk: /cold: No space left" in caplog.text
    assert not recorder.statuses


def test_a_run_that_has_not_read_the_log_brings_nothing_beside_another(config: Config) -> None:
    publication, recorder = publishing(config)
    recorder.called.clear()
    recorder.runs = SimpleNamespace(rival=lambda: Rival("aa", {}, None))
    assert publication.publish(Progress(), {}, has_caught_up=False, dense=True)
    assert not [name for name in recorder.called if name.startswith("publish")]
    assert recorder.artefacts == []
    assert "99 % of the log" in recorder.statuses[-1]["waits"]


SHARED = {"publish_entity_changes", "publish_catalog"}


def test_a_challenger_writes_what_models_share_from_its_promotion_on_and_then_in_full(config: Config) -> None:
    publication, recorder = publishing(config)
    entities = publication._shared._entities
    entities.users.update("u", 1, {"a": 1})
    for owned, wanted in ((False, False), (True, True), (False, False)):
        recorder.facts = SimpleNamespace(owned=lambda caught_up, owned=owned: owned, layouts_of_champion=frozenset)
        recorder.called.clear()
        assert publication.publish(Progress(), {}, has_caught_up=True, dense=True)
        assert SHARED.issubset(recorder.called) == wanted
        assert SHARED.isdisjoint(recorder.called) != wanted
        assert ("forget_catalog" in recorder.called) == wanted, "another trainer has written it"
        assert not entities.drain_changes()[0].latest


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
