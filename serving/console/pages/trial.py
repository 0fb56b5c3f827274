"""Try a user: a ranking with its sources and features, and what a click does to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from serving.api.messages.request_errors import InvalidFieldError
from serving.api.messages.schemas import RankRequest, RecommendRequest
from serving.api.routes import after
from serving.console.figures import FigureTable
from serving.console.readable import fraction, written
from serving.console.rendering import Renderer, form
from serving.console.user_trial import TriedList, UserTrial

PATIENCE: Final = 60_000
"""How long (ms) a click's effect is waited for."""
_MOVED: Final = 1e-6
"""Scores that differ by less are the same: batches of other sizes are added up in another order."""
_MOST: Final = 100
_scores = msgspec.json.Decoder(dict[str, float])


class TrialPage:
    """`actions` are those that decide labels; `trained` names the models that have a trainer, `now` is in ms."""

    def __init__(
        self,
        render: Renderer,
        trial: UserTrial,
        actions: Collection[str],
        trained: Callable[[], Collection[str]],
        now: Callable[[], int],
    ) -> None:
        self._render, self._trial, self._trained, self._now = render, trial, trained, now
        self._actions = sorted(actions, key=lambda action: (action != "click", action))

    async def page(self, request: Request) -> Response:
        fields = dict(request.query_params)
        shown = await self._trial.look(request, _asked(fields)) if fields.get("user") else None
        return await self._page(request, fields, shown)

    async def ask(self, request: Request) -> Response:
        fields = await form(request)
        response = await self._page(request, fields, await self._trial.ask(request, _asked(fields)))
        response.background = after(request)
        return response

    async def click(self, request: Request) -> Response:
        """Click on an item of an impression; the answer shows what the scores are, and asks again."""
        fields = await form(request)
        user, item = fields.get("user", ""), fields.get("item", "")
        model, before = await self._trial.scores(request, RankRequest(user, _items(fields)))
        stored = await self._trial.click(fields.get("impression", ""), item, fields.get("action", ""))
        if stored.error is not None:
            raise InvalidFieldError.of(stored.error)
        return self._change(user, item, model, before, before, self._now())

    async def after(self, request: Request) -> Response:
        """What the scores are now, beside those of before the click."""
        fields = await form(request)
        user, item = fields.get("user", ""), fields.get("item", "")
        try:
            before = _scores.decode(fields.get("before", ""))
            clicked = min(max(int(fields.get("clicked", "")), 0), self._now())
        except (msgspec.MsgspecError, ValueError) as error:
            raise InvalidFieldError("these are not the scores of before the click: try again", "before") from error
        model, after = await self._trial.scores(request, RankRequest(user, list(before)))
        return self._change(user, item, model, before, after, clicked)

    async def _page(self, request: Request, fields: Mapping[str, str], shown: TriedList | None) -> Response:
        content: dict[str, Any] = {"fields": fields, "shown": shown, "actions": self._actions, "most": _MOST}
        if shown is not None:
            effects = await self._trial.effects(request, fields["user"], shown) if fields.get("why") else {}
            content |= {"ranking": _ranking(shown, effects), "features": _features(shown)}
        return self._render.page("trial.html", "try", **content)

    def _change(
        self,
        user: str,
        item: str,
        model: str,
        before: Mapping[str, float],
        after: Mapping[str, float],
        clicked: int,
    ) -> Response:
        waited = self._now() - clicked
        moved = any(abs(after.get(name, 0.0) - score) > _MOVED for name, score in before.items())
        ranks = {name: place for place, name in enumerate(before, 1)}
        rows = [
            (name, f"{ranks[name]} → {place}", fraction(before[name]), fraction(score), f"{score - before[name]:+.6f}")
            for place, (name, score) in enumerate(after.items(), 1)
        ]
        return self._render.page(
            "trial_change.html",
            user=user,
            item=item,
            before=msgspec.json.encode(before).decode(),
            clicked=clicked,
            waited=waited / 1000,
            moved=moved,
            waits=not moved and waited < PATIENCE and model in self._trained(),
            still="" if model in self._trained() else model,
            change=FigureTable.of(
                "Scores before and after", ("item", "rank_change", "before", "after", "change"), rows
            ),
        )


def _asked(fields: Mapping[str, str]) -> RankRequest | RecommendRequest:
    """Raises InvalidFieldError."""
    try:
        count = int(fields.get("count") or 10)
    except ValueError:
        raise InvalidFieldError("must be a number", "count") from None
    given = {"user": fields.get("user", ""), "count": count}
    if not 1 <= count <= _MOST:
        raise InvalidFieldError(f"{count}; the console shows 1 to {_MOST}", "count")
    items = _items(fields)
    try:
        if items:
            return msgspec.convert(given | {"items": items}, RankRequest)
        return msgspec.convert(given, RecommendRequest)
    except msgspec.ValidationError as error:
        raise InvalidFieldError(str(error)) from error


def _items(fields: Mapping[str, str]) -> list[str]:
    """One id a line."""
    return [line.strip() for line in fields.get("items", "").splitlines() if line.strip()]


def _ranking(shown: TriedList, effects: Mapping[str, Mapping[str, float]]) -> FigureTable:
    tasks = [name for one in shown.answer.items[:1] if one.scores for name in one.scores]
    rows = []
    for place, one in enumerate(shown.answer.items):
        by_task = [fraction(one.scores[task]) for task in tasks] if one.scores else []
        read = ", ".join(f"{name} = {written(values[place])}" for name, values in shown.item_features.items())
        why = (_largest(effects[one.item]),) if effects else ()
        own = str(place + 1), one.item, fraction(one.score), one.source or "given", fraction(one.propensity)
        rows.append((*own, *by_task, *why, read or "-"))
    keys = "rank", "item", "score", "source", "propensity", *(f"task:{task}" for task in tasks)
    return FigureTable.of("Ranking", (*keys, *(("why",) if effects else ()), "item_features"), rows)


def _largest(effects: Mapping[str, float], most: int = 3) -> str:
    """
    >>> _largest({"age": 0.01, "kind": -0.25, "day": 0.0})
    'kind -0.2500, age +0.0100'
    """
    chosen = sorted(effects.items(), key=lambda one: -abs(one[1]))[:most]
    return ", ".join(f"{name} {fraction(value, '+')}" for name, value in chosen if abs(value) > _MOVED) or "-"


def _features(shown: TriedList) -> FigureTable:
    rows = [(name, written(value)) for name, value in sorted(shown.features.items())]
    return FigureTable.of("Features of the request, as used", ("feature", "value"), rows)
