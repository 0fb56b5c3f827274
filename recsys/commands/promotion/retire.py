"""`recsys retire`: a model that is not served any more leaves Redis."""

from __future__ import annotations

import secrets
from pathlib import Path

from recsys import wiring
from recsys.commands.output.terminal import plain_console, say
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import PromotionError
from serving.replication.publish.lease import Holder


def run(path: Path, model: str) -> None:
    config = load(path)
    if used := list(_uses(config, model)):
        raise PromotionError(f"model {model!r} is in use: {'; '.join(used)}. Take it out there first")
    holder = Holder.here(secrets.token_hex(6), "retire")
    with wiring.publisher(config, model, holder) as (publisher, _):
        rows = publisher.retire()
    say(plain_console(), f"Removed model {model!r} from Redis, {rows:,} rows. Its checkpoints stay as they are.")


def _uses(config: Config, model: str) -> list[str]:
    """Where this configuration names it."""
    arms = [
        f"arm {arm.name!r} of experiment {experiment.name!r} ranks with it"
        for experiment in config.experiments
        for arm in experiment.arms
        if arm.model == model
    ]
    return arms + (["[serving] shadow names it"] if model in config.serving.shadow else [])
