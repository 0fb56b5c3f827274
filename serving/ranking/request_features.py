"""The features of a request that a model reads."""

from __future__ import annotations

from serving.cache.entity_cache import EntityFeatures
from serving.model.loaded_model import LoadedModel
from streaming.events.schema import Features


def request_features(model: LoadedModel, entities: EntityFeatures, user: str, given: Features) -> tuple[Features, bool]:
    """The request's features where `given`, else the user's latest ones, and whether these are up to date."""
    if not model.user_features - given.keys():
        return given, True
    latest, fresh = entities.user(user)
    return {name: latest[name] for name in model.user_features & latest.keys()} | given, fresh
