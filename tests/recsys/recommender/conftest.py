"""A small world: guests who like hot or cold drinks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys import Config, Recommender
from streaming.events.schema import Event, Impression, Interaction, ItemUpdate
from tests.projects import share_graphs

START = 1_767_225_600_000
DRINKS = {"tea": "hot", "coffee": "hot", "cola": "cold", "water": "cold"}
SETTINGS = {
    "features": {
        "dim": 4,
        "fields": [
            {"name": "user", "source": "user"},
            {"name": "item", "source": "item"},
            {"name": "device", "source": "request.device"},
            {"name": "temperature", "source": "item.temperature"},
        ],
        "defaults": {"capacity": 1000},
    },
    "model": {"name": "fm", "mlp": []},
    "training": {"batch_size": 16, "wait": "1m", "lateness": "1s", "sparse_lr": 0.2},
}
TOML = """
[features]
dim = 4
defaults = { capacity = 1000 }
fields = [
  { name = "user", source = "user" },
  { name = "item", source = "item" },
  { name = "device", source = "request.device" },
  { name = "temperature", source = "item.temperature" },
]
[model]
name = "fm"
mlp = []
[training]
batch_size = 16
wait = "1m"
lateness = "1s"
sparse_lr = 0.2
"""
"""The same as a file."""


def world(lists: int, first: int = 0) -> list[Event]:
    """Lists `first` and the following of all four drinks; each guest takes one of the two that they like."""
    events: list[Event] = [] if first else [_drink(name, START) for name in DRINKS]
    for number in range(first, first + lists):
        rng = random.Random(number)
        guest, time = rng.randrange(8), START + 10_000 * (number + 1)
        shown = rng.sample(list(DRINKS), 4)
        liked = rng.choice([item for item in shown if DRINKS[item] == ("hot", "cold")[guest % 2]])
        device = {"device": rng.choice(["phone", "desk"])}
        events.append(Impression(id=f"l{number}", time=time, user=str(guest), items=shown, features=dict(device)))
        events.append(Interaction(time=time + 1000, impression=f"l{number}", item=liked))
    return events


def _drink(name: str, time: int) -> Event:
    return ItemUpdate(time=time, item=name, features={"temperature": DRINKS[name]})


def config() -> Config:
    return Config.model_validate(SETTINGS)


def prepared(folder: Path, graphs: Path) -> Path:
    """The folder, with the graphs that tests have traced."""
    share_graphs(folder / "run" / "checkpoints", graphs)
    return folder


@pytest.fixture
def fresh(tmp_path: Path, graphs: Path) -> Iterator[Recommender]:
    """A recommender that has seen nothing."""
    with Recommender(config(), folder=prepared(tmp_path, graphs)) as made:
        yield made


@pytest.fixture(scope="package")
def fitted(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Iterator[Recommender]:
    """A recommender that has learned from 300 lists; tests that share it change nothing."""
    with Recommender(config(), folder=prepared(tmp_path_factory.mktemp("fitted"), graphs)) as made:
        made.ingest(world(300))
        made.fit()
        yield made
