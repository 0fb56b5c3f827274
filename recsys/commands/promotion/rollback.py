"""`recsys rollback`: the model or run that was served before is served again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from recsys.commands.output.terminal import plain_console, say
from recsys.commands.promotion.objections import of_trainer
from recsys.commands.promotion.promote import announce, made
from recsys.commands.promotion.redis_of import promotions, status_of, who
from recsys.config.file import load
from recsys.errors import PromotionError
from serving.replication.promoter import Promoter, target_of_rollback
from serving.replication.promotions import Promotion, champion_of
from serving.replication.takeovers import Takeover


def run(path: Path, version: int | None, *, why: str) -> None:
    """Nothing but missing rows stops it: who goes back is in a hurry."""
    config = load(path)
    console = plain_console()
    with promotions(config) as (promoter, client):
        history = promoter.history()
        last = _last_takeover(promoter, history) if version is None else None
        if last is not None:
            _back_to_run(console, promoter, champion_of(history), last, why)
            return
        target, model = target_of_rollback(history, version)
        candidate = promoter.candidate(model)
        notes = list(of_trainer(model, status_of(client, model), time.time()))
        why = why or f"back to version {target}"
        promotion = made(history, candidate, why=why, forced=[], rolled_back=True)
        promoter.append(promotion, candidate)
    announce(console, config, promotion)
    for note in notes:
        say(console, f"Note: {note}.", style="yellow")


def _last_takeover(promoter: Promoter, history: Sequence[Promotion]) -> Takeover | None:
    """How the champion's present run came to be served, if that was after the last promotion."""
    entries = promoter.takeovers(champion_of(history))
    promoted = history[-1].at if history else 0
    return entries[-1] if entries and entries[-1].at > promoted else None


def _back_to_run(console: Console, promoter: Promoter, model: str, last: Takeover, why: str) -> None:
    if promoter.run_before(model) is None:
        raise PromotionError(
            f"run {last.before} of model {model!r} has left Redis, which keeps it for [training] keep_run: start a "
            "trainer from its checkpoints. To go back to another model, name a version (`recsys versions`)"
        )
    candidate = promoter.candidate(model, last.before)
    entry = Takeover(last.before, last.run, time.time_ns() // 1_000_000, who(), why, rolled_back=True)
    promoter.go_back(candidate, entry)
    say(console, f"Run {entry.run} of model {model!r} ({candidate.label}) is served again, in place of {entry.before}.")
    say(
        console,
        f"It learns on when a trainer of its checkpoints runs; that of run {entry.before} publishes no rows until "
        "another `recsys rollback`.",
    )
