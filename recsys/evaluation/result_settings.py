"""The settings that a result depends on, and whether one that is to go on was begun with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.config.schema import Config

_SECTIONS = "features", "model", "training"
PLACES = frozenset(
    [
        "threads",
        "min_workers",
        "checkpoints",
        "checkpoint_every",
        "increments",
        "keep",
        "export_every",
        "tensorboard",
        "cold_folder",
        "pending_folder",
        "batches_folder",
        "keep_batches",
    ]
)
"""Settings of training that say where and how it runs; they do not belong in a result."""


def settings_of(config: Config, *sections: str, stated: bool = False) -> dict[str, Any]:
    """The part of a configuration that a result depends on, with these `sections` beside; in types that JSON has.

    With `stated` those settings alone that are not at their defaults.
    """
    named = {*_SECTIONS, *sections, *(["tasks"] if config.tasks else [])}
    settings = config.model_dump(mode="json", include=named, exclude_defaults=stated)
    training = settings.get("training", {})
    return settings | {"training": {name: value for name, value in training.items() if name not in PLACES}}


def goes_on(kept: Any, settings: Any, stated: Any) -> bool:
    """Whether what was begun with `kept` can go on with these settings, of which `stated` are not at their defaults.

    A setting that `kept` lacks came with a later release: it must be at its default, which leaves things as they were.

    >>> goes_on({"lr": 1}, {"lr": 1, "l2": 0}, {"lr": 1}), goes_on({"lr": 1}, {"lr": 1, "l2": 3}, {"lr": 1, "l2": 3})
    (True, False)
    """
    if isinstance(kept, Mapping) and isinstance(settings, Mapping):
        beside: Mapping[str, Any] = stated or {}
        same = (goes_on(value, settings[name], beside.get(name)) for name, value in kept.items() if name in settings)
        return kept.keys() <= settings.keys() and not beside.keys() - kept.keys() and all(same)
    if isinstance(kept, list) and isinstance(settings, list):
        beside_each = stated or [None] * len(settings)
        return len(kept) == len(settings) and all(map(goes_on, kept, settings, beside_each))
    return bool(kept == settings)
