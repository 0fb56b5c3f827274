"""`recsys migrate`: a checkpoint of other fields, taken over."""

from __future__ import annotations

from pathlib import Path

import click

from recsys import wiring
from recsys.config.file import load
from recsys.errors import InvalidValueError
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.description import changed_fields


def run(path: Path, source: Path) -> None:
    config = load(path)
    target = config.training.checkpoints
    if Checkpoints(target).all():
        raise InvalidValueError(
            f"{target} has checkpoints already, which stay as they are: name an empty folder in [training] checkpoints"
        )
    newest = Checkpoints(source).newest()
    if newest is None:
        raise InvalidValueError(f"{source} has no checkpoint: name the folder that the model was trained in")
    with wiring.trainer(config, publish=False) as trainer:
        written = trainer.migrate(newest)
        for change in changed_fields(written, trainer.learner.spec):
            click.echo(f"{change}.")
        trainer.checkpoint()
        click.echo(f"Took over {newest}, after {trainer.learner.steps:,} steps, into {target}. Now: recsys train")
