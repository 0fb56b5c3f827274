"""Makes a published model the champion, or goes back to the run before, and keeps the record of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import msgspec
from redis.client import Pipeline

from recsys.errors import ArtefactError, PromotionError
from serving.model.artefact import Artefact
from serving.replication.connection.redis_client import RedisClient
from serving.replication.keys import ONLINE, ModelKeys
from serving.replication.promotions import Promotion, champion_of, decoded, history
from serving.replication.shared_reads import served
from serving.replication.takeovers import Takeover, last_takeover, point, takeovers


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model whose rows and graph Redis holds."""

    model: str
    run: str
    artefact: Artefact

    @property
    def label(self) -> str:
        return self.artefact.version


class Promoter:
    """Reads and appends to the record. All methods raise redis.RedisError."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    def history(self) -> list[Promotion]:
        """All promotions, the oldest first."""
        return history(self._client)

    def published(self) -> list[str]:
        """The models that Redis has a graph of, in the order of their names."""
        names = sorted(name.decode() for name in cast(set[bytes], self._client.smembers(self._client.names.models)))
        return [name for name in names if self._graph(name, served(self._client, name) or "") is not None]

    def takeovers(self, model: str) -> list[Takeover]:
        """Which runs of a model servers have followed, the oldest first. Raises PromotionError as `takeovers` does."""
        return takeovers(self._client, model)

    def run_before(self, model: str) -> str | None:
        """The run of a model that servers followed before the present one, if Redis still holds all of it."""
        last = last_takeover(self._client, model)
        if last is None or self._graph(model, last.before) is None or not self._is_whole(model, last.before):
            return None
        return last.before

    def candidate(self, model: str, run: str | None = None) -> Candidate:
        """A model that could be served, or a run of it; by default the one that is. Raises PromotionError if Redis does
        not hold all of it."""
        run = served(self._client, model) if run is None else run
        if run is None:
            known = ", ".join(self.published()) or "none"
            raise PromotionError(
                f"no model {model!r} is published; there are: {known}. Train it with publish_as = {model!r} in "
                "[training] of its configuration"
            )
        data, whole = self._graph(model, run), self._is_whole(model, run)
        if data is None or not whole:
            raise PromotionError(
                f"Redis has lost the {'graph' if data is None else 'rows'} of model {model!r} (run {run or 'frozen'}): "
                "start its trainer, which publishes all of it from its newest checkpoint"
            )
        try:
            return Candidate(model, run, Artefact.from_bytes(data))
        except ArtefactError as error:
            raise PromotionError(f"the graph of model {model!r} cannot be served: {error}") from error

    def go_back(self, candidate: Candidate, entry: Takeover) -> None:
        """Let servers follow the run of `candidate` in place of the one before, in one transaction.

        Raises PromotionError if servers have left that one, or Redis has lost the candidate in between.
        """
        keys = self._client.names.model(candidate.model, candidate.run)
        self._client.transaction(partial(_back, entry, candidate.label, keys), keys.served, keys.artefact)

    def append(self, promotion: Promotion, candidate: Candidate) -> None:
        """Make it the champion, on all servers, in one transaction.

        Raises PromotionError if another promotion came before, or Redis has lost the candidate in between.
        """
        keys = self._client.names.model(candidate.model, candidate.run)
        watched = (keys.names.promotions, keys.served, keys.artefact)
        self._client.transaction(partial(_checked, promotion, candidate, keys), *watched)

    def _graph(self, model: str, run: str) -> bytes | None:
        return cast(bytes | None, self._client.get(self._client.names.model(model, run).artefact))

    def _is_whole(self, model: str, run: str) -> bool:
        return None not in cast(list[bytes | None], self._client.mget(self._client.names.model(model, run).sequences))


def _checked(promotion: Promotion, candidate: Candidate, keys: ModelKeys, pipe: Pipeline) -> None:
    """`pipe` is watching, so it executes commands immediately until `multi`; if a key changes then, this runs again."""
    now = decoded(cast(list[bytes], pipe.lrange(keys.names.promotions, 0, -1)))
    if len(now) >= promotion.version:
        raise PromotionError(
            f"{now[-1].by} has made model {now[-1].model!r} the champion in between (version {now[-1].version}): see "
            "`recsys versions`, then decide again"
        )
    if pipe.get(keys.served) != candidate.run.encode() or not pipe.exists(keys.artefact):
        raise PromotionError(
            f"model {candidate.model!r} was replaced or lost in Redis in between: look at it again, then repeat"
        )
    pipe.multi()
    pipe.rpush(keys.names.promotions, msgspec.json.encode(promotion))


def _back(entry: Takeover, label: str, keys: ModelKeys, pipe: Pipeline) -> None:
    """As `_checked`."""
    if pipe.get(keys.served) != entry.before.encode() or not pipe.exists(keys.artefact):
        raise PromotionError(
            f"servers have left run {entry.before} of model {keys.model!r}, or Redis has lost run {keys.run}, in "
            "between: look at `recsys versions`, then repeat"
        )
    pipe.multi()
    point(keys, label, entry, pipe)


def target_of_rollback(promotions: Sequence[Promotion], version: int | None) -> tuple[int, str]:
    """The version to go back to, and its model: `version`, or else the last one with another model than now.

    What a rollback undid does not count, so that another one goes further back. Raises PromotionError if there is none,
    or its model is the champion.
    """
    models = [champion_of(promotions[:number]) for number in range(len(promotions) + 1)]
    now = models[-1]
    if version is None:
        earlier = [number for number in _standing(promotions) if models[number] != now]
        if not earlier:
            raise PromotionError(_nothing_earlier(models))
        version = earlier[-1]
    if not 0 <= version < len(models):
        raise PromotionError(f"there is no version {version}: `recsys versions` lists them, 0 to {len(models) - 1}")
    if models[version] == now:
        raise PromotionError(f"version {version} is model {now!r}, which is the champion")
    return version, models[version]


def _standing(promotions: Sequence[Promotion]) -> list[int]:
    """The versions that no rollback has undone, the newest last: it undoes all after the last one with its model."""
    found = [(0, ONLINE)]
    for one in promotions:
        if one.rolled_back and one.model in (model for _, model in found):
            while found[-1][1] != one.model:
                found.pop()
        else:
            found.append((one.version, one.model))
    return [version for version, _ in found]


def _nothing_earlier(models: Sequence[str]) -> str:
    now = models[-1]
    others = [f"{number} ({model})" for number, model in enumerate(models) if model != now]
    if not others:
        return f"nothing to go back to: no model but {now!r} has been the champion"
    return (
        f"nothing to go back to: {now!r} was the champion before all that were rolled back. To return to one of them "
        f"name its version: {', '.join(others)}"
    )
