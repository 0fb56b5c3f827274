"""Users and items: what this server knows of them, and the erasure of a user."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from recsys.errors import InvalidValueError, RecsysError
from serving.console.figures import Figure, FigureTable, figure
from serving.console.readable import count, fraction, moment, written
from serving.console.rendering import Renderer, form
from serving.console.user_history import LOOKED_AT, UserHistory
from serving.erasure.place import Finding
from serving.replica import Replica
from streaming.events.schema import Features

_logger = logging.getLogger(__name__)
_NEIGHBOURS = 5


class LookupPage:
    """`erase` forgets a user as `DELETE /v1/users/{user}` does; `now` is in milliseconds since the epoch."""

    def __init__(
        self,
        render: Renderer,
        replica: Replica,
        history: UserHistory,
        erase: Callable[[str], list[Finding]],
        now: Callable[[], int],
    ) -> None:
        self._render, self._replica, self._history = render, replica, history
        self._erase, self._now = erase, now

    async def page(self, request: Request) -> Response:
        user, item = request.query_params.get("user", ""), request.query_params.get("item", "")
        content: dict[str, Any] = {"user": user, "item": item, "figures": [], "tables": [], "fresh": True, "unread": ""}
        if user or item:
            content |= await asyncio.to_thread(self._of_user if user else self._of_item, user or item)
        return self._render.page("lookup.html", "lookup", **content)

    async def confirm(self, request: Request) -> Response:
        return self._erasure(request.query_params.get("user", ""))

    async def erase(self, request: Request) -> Response:
        """Erase the user whose id was typed once more."""
        fields = await form(request)
        user = fields.get("user", "")
        if not user or fields.get("again", "") != user:
            return self._erasure(user, "The id typed is not that of the user: nothing was erased.", status=422)
        try:
            places = await asyncio.to_thread(self._erase, user)
        except InvalidValueError as error:
            return self._erasure(user, f"Nothing was erased: {error}", status=422)
        except RecsysError as error:
            return self._erasure(user, f"Not everything is erased, ask again: {error}", status=503)
        rows = [(one.place, count(one.before), count(one.now), one.remedy or "-") for one in places]
        found = FigureTable.of("What each place had", ("place", "had", "has", "remedy"), rows)
        return self._erasure(user, found=found, left=sum(one.now for one in places))

    def _erasure(
        self, user: str, error: str = "", found: FigureTable | None = None, left: int = 0, status: int = 200
    ) -> Response:
        return self._render.page("erase.html", "lookup", status, user=user, error=error, found=found, left=left)

    def _of_user(self, user: str) -> dict[str, Any]:
        features, fresh = self._replica.entities.user(user)
        tables = [_features("Features, as served", features)]
        for name, model in sorted(self._replica.models.loaded.items()):
            counted, _, current = ({}, {}, True) if model.counted is None else model.counted.read(user, [], self._now())
            fresh &= current
            tables += [_features(f"Computed by the stream for {name}", counted)] if counted else []
        tables.append(self._clicked(user))
        try:
            tables.append(self._happened(user))
        except Exception as error:  # of whatever client the log has; all else can be shown
            _logger.warning("the console cannot read the log: %s", error)
            return {"tables": tables, "fresh": fresh, "unread": str(error)}
        return {"tables": tables, "fresh": fresh}

    def _of_item(self, item: str) -> dict[str, Any]:
        (features,), fresh = self._replica.entities.items([item])
        tables = [_features("Features, as served", features)]
        for name, model in sorted(self._replica.models.loaded.items()):
            _, counted, current = (
                ({}, {}, True) if model.counted is None else model.counted.read("", [item], self._now())
            )
            fresh &= current
            first = {key: values[0] for key, values in counted.items()}
            tables += [_features(f"Computed by the stream for {name}", first)] if first else []
        return {"tables": tables, "fresh": fresh, "figures": list(self._known(item))}

    def _known(self, item: str) -> Iterator[Figure]:
        popular = self._replica.catalog.popular
        yield figure("popularity", fraction(popular[item]) if item in popular else "not among the popular")
        places = {name: place for place, name in enumerate(popular, 1)}
        yield figure("popular_place", count(places[item]) if item in places else "-")
        recent = list(self._replica.catalog.recent)
        yield figure("recent_place", count(recent.index(item) + 1) if item in recent else "-")

    def _clicked(self, user: str) -> FigureTable:
        try:
            found = self._replica.visited.read(user)
        except msgspec.DecodeError:
            found = {}
        rows = [
            (item, ", ".join(f"{name} ({affinity:.3g})" for name, affinity in near[:_NEIGHBOURS]) or "-")
            for item, near in found.items()
        ]
        return FigureTable.of("Clicked last, the latest first", ("item", "neighbours"), rows)

    def _happened(self, user: str) -> FigureTable:
        rows = [(moment(one.time), one.what, one.items, one.arm) for one in self._history.latest(user)]
        name = f"Latest events, of the last {count(LOOKED_AT)} in the log"
        return FigureTable.of(name, ("happened", "what", "shown_items", "shown_arm"), rows)


def _features(name: str, features: Features) -> FigureTable:
    return FigureTable.of(
        name, ("feature", "latest"), [(key, written(value)) for key, value in sorted(features.items())]
    )
