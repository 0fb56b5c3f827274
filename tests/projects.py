"""A folder as a user has it: recsys.toml, and events in the log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsys import wiring
from recsys.config.file import load
from recsys.config.schema import Config
from streaming.events.schema import Event
from streaming.ingest.codec import encode_events

SMALL = """
[features]
dim = 4
[model]
name = "fm"
mlp = [8]
"""
"""The model of tests that publish whatever model: its graph is traced once for all of them."""


def share_graphs(checkpoints: Path, graphs: Path) -> None:
    """Let a trainer that begins in this folder know the graphs that tests have traced."""
    checkpoints.mkdir(parents=True)
    (checkpoints / "graphs").symlink_to(graphs)


def project(folder: Path, settings: str, events: Sequence[Event], graphs: Path) -> Config:
    """Its configuration. Graphs that tests have traced are known there."""
    (folder / "recsys.toml").write_text(settings)
    config = load(folder / "recsys.toml")
    share_graphs(config.training.checkpoints, graphs)
    log = wiring.event_log(config)
    log.append(encode_events(events))
    log.close()
    return config
