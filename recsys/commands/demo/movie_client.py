"""The demo's client. It uses the server as an application would, over HTTP alone."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.client import Client as Server
from recsys.commands.output.terminal import say
from recsys.errors import InvalidValueError, UnavailableError
from serving.api.messages.schemas import RankResponse
from streaming.events.schema import Interaction

TIMEOUT = 120.0
"""Seconds to wait for the server to be ready, and for a score to change."""
SETTLED = 0.5
LIKES = 4
SHOWN = 10
GENRE = "Animation"


@dataclass(frozen=True, slots=True)
class RankedItems:
    """A server's answer: item and score in the order shown."""

    impression: str
    scores: dict[str, float]
    arm: str
    degraded: list[str]
    source_of: dict[str, str]
    """Where each item came from; empty text for items that were given."""

    @property
    def items(self) -> list[str]:
        return list(self.scores)


class MovieClient:
    """Talks to the server at `url`; `movies` is MovieLens's movies.csv, for titles."""

    def __init__(self, url: str, movies: Path) -> None:
        self._url, self._server = url, Server(url, timeout=10)
        with movies.open(newline="", encoding="utf-8") as lines:
            self._movies = {row["movieId"]: (row["title"], row["genres"].split("|")) for row in csv.DictReader(lines)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def title(self, item: str) -> str:
        return self._movies.get(item, (item, []))[0]

    def genres(self, item: str) -> list[str]:
        return self._movies.get(item, (item, []))[1]

    def wait_until_ready(self) -> None:
        """Raises UnavailableError when no model is served within `TIMEOUT`."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                if self._server.ready():
                    return
                reason = "it is starting"
            except UnavailableError as error:
                reason = str(error)
            if time.monotonic() > deadline:
                raise UnavailableError(f"{self._url} was not ready within {TIMEOUT:.0f} s: {reason}")
            time.sleep(0.1)

    def recommend(self, user: str, count: int) -> RankedItems:
        return _ranked(self._server.recommend(user, count=count))

    def rank(self, user: str, items: list[str]) -> RankedItems:
        """As it would be shown now: nobody sees it, so that it is no impression and nothing is learned from it."""
        return _ranked(self._server.rank(user, items, log=False))

    def like(self, impression: str, items: list[str]) -> None:
        now = time.time_ns() // 1_000_000
        self._server.send([Interaction(now, impression, item, "like") for item in items])


def _ranked(answer: RankResponse) -> RankedItems:
    scores = {one.item: one.score for one in answer.items}
    sources = {one.item: one.source for one in answer.items}
    return RankedItems(answer.impression, scores, answer.arm, answer.degraded, sources)


def show_change(client: MovieClient, console: Console) -> None:
    """Rank, like some items, and rank again until a score changes. Print that time, and both lists once all is learned.

    Then ask for recommendations again, and print where they come from.
    """
    user, first = _online(client)
    console.print(f"{user!r} is in the arm {first.arm!r}.")
    before = _settled(client, user, first.items)
    liked = [item for item in before.items if GENRE in client.genres(item)][:LIKES] or before.items[:LIKES]
    console.print(f"Likes, of the {len(before.items)} films shown: {', '.join(client.title(item) for item in liked)}")
    client.like(first.impression, liked)
    posted = time.monotonic()
    _wait_for_change(client, user, before)
    seconds = time.monotonic() - posted
    after = _settled(client, user, before.items)
    console.print(_side_by_side(client, before, after))
    console.print(_liked(client, before, after, liked))
    say(console, _what_is_seen(before, after, liked))
    console.print(f"From posting the likes to a changed score: {seconds * 1000:.0f} ms", style="bold")
    console.print(_recommended(client, client.recommend(user, SHOWN)))


def _liked(client: MovieClient, before: RankedItems, after: RankedItems, liked: list[str]) -> Table:
    """Where the liked films stood, and stand."""
    table = Table("liked", "place before", "after", "score before", "after", title="The liked films")
    for item in liked:
        places = [str(ranking.items.index(item) + 1) for ranking in (before, after)]
        table.add_row(client.title(item), *places, f"{before.scores[item]:.3f}", f"{after.scores[item]:.3f}")
    return table


def _what_is_seen(before: RankedItems, after: RankedItems, liked: list[str]) -> str:
    """Why scores move as they do."""
    gains = {item: score - before.scores[item] for item, score in after.scores.items()}
    mean = sum(gains[item] for item in liked) / len(liked)
    fell = sum(gain < 0 for gain in gains.values())
    return (
        f"Liked films: {mean:+.3f} in the mean. Of all {len(gains)} shown, {fell} fell: what is shown and not liked is "
        "learned as well, likes teach what this user wants of films like them."
    )


def _recommended(client: MovieClient, answer: RankedItems) -> Table:
    """Recommended films, and where each was found."""
    table = Table("", "recommended now", "score", "found by")
    for place, (item, score) in enumerate(answer.scores.items(), 1):
        table.add_row(str(place), client.title(item), f"{score:.3f}", answer.source_of[item])
    return table


def _online(client: MovieClient) -> tuple[str, RankedItems]:
    """A new user of the arm `online`, to which half of all users belong, and their recommendations."""
    for number in range(1, 100):
        user = f"new-user-{number}"
        ranking = client.recommend(user, 100)
        if ranking.arm == "online" and not ranking.degraded:
            return user, ranking
    raise InvalidValueError(
        f"no user got a ranking from the arm 'online'; the last answer was degraded: {ranking.degraded}"
    )


def _settled(client: MovieClient, user: str, items: list[str]) -> RankedItems:
    """The ranking once it is stable for half a second: the trainer has then learned from all earlier events."""
    deadline = time.monotonic() + TIMEOUT
    before = client.rank(user, items)
    while time.monotonic() < deadline:
        time.sleep(SETTLED)
        after = client.rank(user, items)
        if after.scores == before.scores and not after.degraded:
            return after
        before = after
    raise UnavailableError(f"scores did not settle within {TIMEOUT:.0f} s; see train.log")


def _wait_for_change(client: MovieClient, user: str, before: RankedItems) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        after = client.rank(user, before.items)
        if not after.degraded and any(abs(score - before.scores[item]) > 1e-6 for item, score in after.scores.items()):
            return
    raise UnavailableError(f"no score changed within {TIMEOUT:.0f} s; see train.log")


def _side_by_side(client: MovieClient, before: RankedItems, after: RankedItems) -> Table:
    table = Table("", "before", "score", "after", "score", "change")
    pairs = zip(before.items[:SHOWN], after.items[:SHOWN], strict=True)
    for place, (old, new) in enumerate(pairs, 1):
        change = after.scores[new] - before.scores[new]
        table.add_row(
            str(place),
            client.title(old),
            f"{before.scores[old]:.3f}",
            client.title(new),
            f"{after.scores[new]:.3f}",
            Text(f"{change:+.3f}", "green" if change > 0 else "red"),
        )
    return table
