"""What shows lists to simulated users: a policy that writes a log, or a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recsys.client import Client
from recsys.errors import InvalidValueError, StateError
from recsys.simulation.user_model import Floats, UserModel
from serving.api.messages.schemas import RankResponse
from serving.ranking.exploration import PlackettLuce
from streaming.events.schema import Event, Impression, ItemUpdate, UserUpdate

_BATCH = 500
"""Events that are posted together."""
_PAUSE = 0.2
"""Seconds until a server that recommends nothing is asked again."""


@dataclass(frozen=True, slots=True)
class ShownList:
    """A list, as the places of its items in the user model, and the arm that made it."""

    impression: str
    items: list[int]
    arm: str


class Platform(Protocol):
    """Where users are shown lists. Times are event times in ms."""

    def show(self, user: int, time: int, count: int, likes_I: Floats) -> ShownList:
        """A list of `count` items; `likes_I` are the chances that the user likes each item now."""
        ...

    @property
    def take(self) -> Callable[[Event], None]:
        """Takes what happened beside lists."""
        ...


class LoggingPolicy:
    """Draws lists by Plackett and Luce with known propensities; `write` gets all events, in the order of their times.

    An item's chance is proportional to odds(like)^`selection`: 0 shows everything alike, 1 mostly what the user likes,
    as feedback that users have selected is.
    """

    def __init__(
        self, model: UserModel, write: Callable[[Event], None], *, selection: float = 0.5, seed: int = 0
    ) -> None:
        if not (np.isfinite(selection) and selection >= 0):
            raise InvalidValueError(f"selection is {selection}; it must be 0 or more")
        self._model, self._selection = model, selection
        self._policy, self._rng = PlackettLuce(1.0), np.random.default_rng([seed, 3])
        self.take = write
        self._lists = 0

    def show(self, user: int, time: int, count: int, likes_I: Floats) -> ShownList:
        likes_I = likes_I.clip(1e-6, 1 - 1e-6)
        odds_I = (likes_I / (1 - likes_I)) ** self._selection
        order_K, chances_K = self._policy.order(odds_I / (1 + odds_I), count, self._rng)
        self._lists += 1
        shown = ShownList(f"list-{self._lists}", order_K.tolist(), "logged")
        self.take(
            Impression(
                shown.impression,
                time,
                self._model.users[user],
                [self._model.items[item] for item in shown.items],
                propensities=chances_K.tolist(),
            )
        )
        return shown


class ServedLists:
    """The lists of a server, which gets all that happens. Close it to send the rest."""

    def __init__(
        self, model: UserModel, client: Client, patience: float = 60.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._model, self._client, self._patience, self._sleep = model, client, patience, sleep
        self._places = {item: place for place, item in enumerate(model.items)}
        self._waiting: list[Event] = []

    def show(self, user: int, time: int, count: int, likes_I: Floats) -> ShownList:  # noqa: ARG002 - the server's own
        """Raises StateError where the server recommends items that are not simulated, or none for long."""
        self.close()
        answer = self._recommended(user, time, count)
        try:
            items = [self._places[one.item] for one in answer.items]
        except KeyError as error:
            message = f"the server recommends {error}, which is not simulated: use a project of its own"
            raise StateError(message) from None
        return ShownList(answer.impression, items, answer.arm or answer.model)

    def _recommended(self, user: int, time: int, count: int) -> RankResponse:
        """Where nothing is recommended yet the trainer has still to read of the items."""
        waited = 0.0
        while True:
            answer = self._client.recommend(self._model.users[user], count=count, time=time)
            if answer.items:
                return answer
            if waited >= self._patience:
                raise StateError("the server recommends nothing: does `recsys train --follow` run beside it?")
            self._sleep(_PAUSE)
            waited += _PAUSE

    def take(self, event: Event) -> None:
        self._waiting.append(event)
        if len(self._waiting) >= _BATCH:
            self.close()

    def close(self) -> None:
        """Raises StateError if the server rejects an event."""
        if self._waiting:
            answer = self._client.send(self._waiting)  # type: ignore[arg-type]
            self._waiting = []
            if answer.error is not None:
                raise StateError(f"the server rejects simulated events: {answer.error.field}: {answer.error.message}")


def first_events(model: UserModel, start: int) -> Sequence[Event]:
    """What the platform knows before anybody comes."""
    items = [ItemUpdate(start, name, model.features_of_item(place)) for place, name in enumerate(model.items)]
    return [*items, *(UserUpdate(start, name, model.features_of_user(place)) for place, name in enumerate(model.users))]
