"""A log in which users like items of their own parity, and a third field says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys import wiring
from recsys.config.file import load
from recsys.fit.parts import Parts, read_parts
from recsys.search.supernet import Space
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events

CONFIG = """
[features]
dim = 8
fields = [
  { name = "user", source = "user" },
  { name = "noise", source = "request.noise" },
  { name = "item", source = "item" },
]
[model]
name = "fm"
mlp = []
[training]
batch_size = 256
wait = "1s"
lateness = "0s"
labels = "held"
[fit]
validation = 0.2
test = 0.2
[dnis]
blocks = 6
epochs = 12
search_epochs = 8
lr = 0.03
alpha_lr = 0.1
shares = [0.25]
"""
LISTS, ITEMS, NOISES = 400, 4, 120


def events(lists: int = LISTS) -> list[Event]:
    draw = np.random.default_rng(3)
    made: list[Event] = []
    for number in range(lists):
        user, noise, time = int(draw.integers(20)), int(draw.integers(NOISES)), 10_000 * number
        items = [int(item) for item in draw.permutation(40)[:ITEMS]]
        made.append(
            Impression(
                id=f"n{number}",
                time=time,
                user=f"u{user}",
                items=[f"i{item}" for item in items],
                features={"noise": f"x{noise}"},
            )
        )
        made += [
            Interaction(time=time + 100, impression=f"n{number}", item=f"i{item}")
            for item in items
            if draw.random() < (0.9 if item % 2 == user % 2 else 0.1)
        ]
    return made


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration file; what a test changes of it is its own copy."""
    path = tmp_path_factory.mktemp("search") / "recsys.toml"
    path.write_text(CONFIG)
    log = wiring.event_log(load(path))
    log.append(encode_events(events()))
    log.close()
    return path


@pytest.fixture(scope="session")
def parts(path: Path) -> Parts:
    config = load(path)
    log = wiring.event_log(config)
    found = read_parts(config, log)
    log.close()
    return found


@pytest.fixture(scope="session")
def space(path: Path, parts: Parts) -> Space:
    return Space.of(load(path), parts.training, parts.validation, parts.test)
