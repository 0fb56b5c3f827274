"""`recsys promote`: a published model becomes the champion."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from recsys.commands.options.iso_time import parse_time
from recsys.commands.output.terminal import plain_console, say
from recsys.commands.promotion.judged_challenger import judged, objection, sentences, table
from recsys.commands.promotion.objections import objections, reached
from recsys.commands.promotion.redis_of import promotions, status_of, who
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import PromotionError
from recsys.evaluation.challenger.judgement import Judgement
from recsys.evaluation.challenger.scored_lists import Version
from serving.replication.promoter import Candidate, Promoter
from serving.replication.promotions import Promotion, champion_of


def run(path: Path, model: str, *, why: str, check: bool, since: str | None, as_json: bool, force: bool) -> None:
    config = load(path)
    console = plain_console()
    start = parse_time(since, "--since") if since else 0
    with promotions(config) as (promoter, client):
        history = promoter.history()
        champion = champion_of(history)
        if model == champion:
            raise PromotionError(f"{model!r} is the champion already (version {len(history)})")
        candidate, now = promoter.candidate(model), _held(promoter, champion)
        status = status_of(client, model)
        found = judged(config, Version(champion, now.run if now else ""), candidate, start)
        against = list(objections(config, candidate, now, status, time.time()))
        if now is not None and (worse := objection(model, found)):
            against.append(worse)
        if as_json:
            console.out(msgspec.json.encode({"against": against, "judgement": found}).decode(), highlight=False)
            return
        _show(console, champion, model, found)
        if check:
            for one in against:
                say(console, f"Against it: {one}.", style="yellow")
            return
        if against and not force:
            raise PromotionError(_refusal(model, against))
        figures = msgspec.to_builtins(found)
        promotion = made(history, candidate, why=why, forced=against, judged=figures)
        promoter.append(promotion, candidate)
    announce(console, config, promotion)


def _show(console: Console, champion: str, model: str, found: Judgement) -> None:
    if found.lists:
        console.print(table(champion, model, found))
    for sentence in sentences(model, found):
        say(console, sentence)


def made(
    history: Sequence[Promotion],
    candidate: Candidate,
    *,
    why: str,
    forced: list[str],
    judged: dict[str, Any] | None = None,
    rolled_back: bool = False,
) -> Promotion:
    """The next entry of the record."""
    return Promotion(
        version=len(history) + 1,
        model=candidate.model,
        label=candidate.label,
        at=time.time_ns() // 1_000_000,
        by=who(),
        why=why,
        rolled_back=rolled_back,
        forced=forced,
        judged=judged or {},
    )


def announce(console: Console, config: Config, promotion: Promotion) -> None:
    """Say what is served now, and to whom."""
    back = "is the champion again" if promotion.rolled_back else "is the champion now"
    say(console, f"Model {promotion.model!r} ({promotion.label}) {back}: version {promotion.version}.")
    for one in promotion.forced:
        say(console, f"In spite of this: {one}.", style="yellow")
    to = reached(config)
    if to:
        say(console, f"Servers follow within about a second. It ranks for {', '.join(to)}.")
    else:
        say(
            console, "No arm of this configuration ranks with it: write `champion` as the model of one.", style="yellow"
        )
    if to and config.experiments:
        say(console, "Arms have changed: judge them with `recsys experiments --since` from now on.", style="yellow")


def _refusal(model: str, against: Sequence[str]) -> str:
    return f"{model!r} is not promoted: {'; '.join(against)}. --force promotes it in spite of that, and records it"


def _held(promoter: Promoter, champion: str) -> Candidate | None:
    """The champion, if Redis holds it."""
    try:
        return promoter.candidate(champion)
    except PromotionError:
        return None
