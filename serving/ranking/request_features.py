"""The features of a request that a model reads, and those that the stream computes of its user and items."""

from __future__ import annotations

from collections.abc import Sequence

from serving.cache.entity_cache import EntityFeatures
from serving.cache.row_store import Floats
from serving.model.loaded_model import LoadedModel
from streaming.events.schema import Features, Value


def request_features(model: LoadedModel, entities: EntityFeatures, user: str, given: Features) -> tuple[Features, bool]:
    """The request's features where `given`, else the user's latest ones, and whether these are up to date."""
    if not model.user_features - given.keys():
        return given, True
    latest, fresh = entities.user(user)
    return {name: latest[name] for name in model.user_features & latest.keys()} | given, fresh


def counted_features(
    model: LoadedModel, user: str, items: Sequence[str], time: int
) -> tuple[Features, dict[str, list[Value]], bool]:
    """What the stream computes of the user and of the items, as of `time`, and whether it is up to date."""
    return ({}, {}, True) if model.counted is None else model.counted.read(user, items, time)


def user_vector(model: LoadedModel, entities: EntityFeatures, user: str, given: Features, time: int) -> Floats:
    """[E], of the user tower of a model that has one. Raises InvalidValueError if a feature is of the wrong kind."""
    counted, _, _ = counted_features(model, user, (), time)
    features, _ = request_features(model, entities, user, counted | given)
    return model.user_vector(user, time, features)
