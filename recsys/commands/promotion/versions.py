"""`recsys versions`: which model is the champion, which were, and which could be."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys.commands.options.iso_time import written_time
from recsys.commands.output.terminal import plain_console
from recsys.commands.promotion.objections import of_trainer
from recsys.commands.promotion.redis_of import promotions, status_of
from recsys.config.file import load
from serving.replication.keys import ONLINE
from serving.replication.promoter import Promoter
from serving.replication.promotions import Promotion, champion_of
from serving.replication.takeovers import Takeover

_LOST = "lost: servers that start now rank by popularity until its trainer is started, or another model promoted"


class Published(msgspec.Struct, frozen=True):
    """A model whose graph Redis holds, or the champion that Redis has lost."""

    model: str
    champion: bool
    notes: list[str]
    """What is wrong with it or its trainer."""


class Versions(msgspec.Struct, frozen=True):
    promotions: list[Promotion]
    published: list[Published]
    takeovers: dict[str, list[Takeover]] = {}
    """By model, which run took the place of which."""


def run(path: Path, *, as_json: bool) -> None:
    found = read(path)
    console = plain_console()
    if as_json:
        console.out(msgspec.json.encode(found).decode(), highlight=False)
        return
    console.print(_promotions(found.promotions))
    console.print(_published(found.published))
    if any(found.takeovers.values()):
        console.print(_takeovers(found.takeovers))


def read(path: Path) -> Versions:
    config = load(path)
    with promotions(config) as (promoter, client):
        history = promoter.history()
        champion, now = champion_of(history), time.time()
        names = promoter.published()
        taken = {model: entries for model in names if (entries := promoter.takeovers(model))}
        notes = {model: [*of_trainer(model, status_of(client, model), now), *_kept(promoter, model)] for model in names}
        published = [Published(model, model == champion, notes[model]) for model in names]
        if history and not any(one.champion for one in published):
            published.append(Published(champion, True, [_LOST]))
    return Versions(history, published, taken)


def _kept(promoter: Promoter, model: str) -> Iterator[str]:
    run = promoter.run_before(model)
    if run is not None:
        yield f"run {run} is kept for `recsys rollback`"


def _promotions(history: list[Promotion]) -> Table:
    drawn = Table(title="Champions", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("version", "model", "graph", "since", "by", "why", "judged"):
        drawn.add_column(name, justify="right" if name == "version" else "left", overflow="fold")
    drawn.add_row("0", ONLINE, "", "the start")
    for one in history:
        why = one.why + (f" (in spite of: {'; '.join(one.forced)})" if one.forced else "")
        cells = (one.model, one.label, written_time(one.at), one.by, why, one.judged.get("verdict", ""))
        drawn.add_row(str(one.version), *cells)
    return drawn


def _published(published: list[Published]) -> Table:
    drawn = Table(title="Published now", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("model", "", "notes"):
        drawn.add_column(name, overflow="fold")
    for one in published:
        drawn.add_row(one.model, "champion" if one.champion else "", "; ".join(one.notes))
    return drawn


def _takeovers(by_model: Mapping[str, Sequence[Takeover]]) -> Table:
    drawn = Table(title="Runs", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("model", "run", "in place of", "since", "by", "why"):
        drawn.add_column(name, overflow="fold")
    for model, entries in by_model.items():
        for one in entries:
            drawn.add_row(model, one.run, one.before, written_time(one.at), one.by, one.why)
    return drawn
