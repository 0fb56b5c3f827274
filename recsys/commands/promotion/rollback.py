"""`recsys rollback`: a model that was the champion before is it again."""

from __future__ import annotations

import time
from pathlib import Path

from recsys.commands.output.terminal import plain_console, say
from recsys.commands.promotion.objections import of_trainer
from recsys.commands.promotion.promote import announce, made
from recsys.commands.promotion.redis_of import promotions, status_of
from recsys.config.file import load
from serving.replication.publish.promoter import target_of_rollback


def run(path: Path, version: int | None, *, why: str) -> None:
    """Nothing but missing rows stops it: who goes back is in a hurry."""
    config = load(path)
    console = plain_console()
    with promotions(config) as (promoter, client):
        history = promoter.history()
        target, model = target_of_rollback(history, version)
        candidate = promoter.candidate(model)
        notes = list(of_trainer(model, status_of(client, model), time.time()))
        why = why or f"back to version {target}"
        promotion = made(history, candidate, why=why, forced=[], rolled_back=True)
        promoter.append(promotion, candidate)
    announce(console, config, promotion)
    for note in notes:
        say(console, f"Note: {note}.", style="yellow")
