"""A log in which users like items of their own parity, and a configuration that learns it in a few epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys import wiring
from recsys.config.file import load
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events

CONFIG = """
[features]
dim = 8
[model]
name = "fm"
mlp = [8]
[training]
batch_size = 64
wait = "1s"
lateness = "0s"
labels = "held"
dense_lr = 0.01
sparse_lr = 0.1
init_scale = 0.1
checkpoint_every = 7
[fit]
epochs = 4
"""
LISTS, ITEMS = 200, 4


def append(path: Path, first: int, count: int) -> None:
    """Lists of four items for one of 12 users, 10 s apart, of which those of the user's parity are clicked mostly."""
    draw = np.random.default_rng(first)
    events: list[Event] = []
    for number in range(first, first + count):
        user, time = int(draw.integers(12)), 10_000 * number
        items = [int(item) for item in draw.permutation(20)[:ITEMS]]
        events.append(Impression(id=f"n{number}", time=time, user=f"u{user}", items=[f"i{item}" for item in items]))
        events += [
            Interaction(time=time + 100, impression=f"n{number}", item=f"i{item}")
            for item in items
            if draw.random() < (0.9 if item % 2 == user % 2 else 0.1)
        ]
    log = wiring.event_log(load(path))
    log.append(encode_events(events))
    log.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The configuration file of a project whose log has `LISTS` lists."""
    path = tmp_path / "recsys.toml"
    path.write_text(CONFIG)
    append(path, 0, LISTS)
    return path
