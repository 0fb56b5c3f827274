"""The settings of one trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import optuna

from recsys.config.schema import Config
from recsys.config.sections.learning.models import with_model
from recsys.config.sections.learning.tune import Range
from recsys.errors import InvalidValueError

Values = dict[str, Any]
"""By the name of the setting."""


def tried_with(config: Config, model: str) -> list[str]:
    """The names of the settings in `[tune.settings]` that apply to `model`."""
    options = type(with_model(config.model, model)).model_fields
    names = (name.partition(".") for name in config.tune.settings)
    return ["".join(name) for name in names if name[0] != "model" or name[2] in options]


def suggest(trial: optuna.Trial, config: Config, names: Iterable[str]) -> Values:
    """What the trial tries. A trial that was begun before gives the same values again."""
    return {name: _suggest(trial, name, config.tune.settings[name]) for name in names}


def _suggest(trial: optuna.Trial, name: str, values: Range | list[Any]) -> Any:
    if isinstance(values, list):  # Optuna keeps choices as numbers or text: lists are in JSON
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in values]))
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(name, values.low, values.high, log=values.log)
    return trial.suggest_float(name, values.low, values.high, log=values.log)


def with_values(config: Config, model: str, values: Mapping[str, Any]) -> Config:
    """The configuration with this model and these settings. Raises ConfigError for values that it does not take."""
    by_section: dict[str, Values] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        by_section.setdefault(section, {})[key] = value
    options = dict(with_model(config.model, model)) | by_section.pop("model", {})
    checked = Config(**by_section, model=options)  # of sections that are otherwise at their defaults
    changed = {
        section: getattr(config, section).model_copy(
            update={key: getattr(getattr(checked, section), key) for key in own}
        )
        for section, own in by_section.items()
    }
    return config.model_copy(update=changed | {"model": checked.model})


def check(config: Config, models: Iterable[str]) -> None:
    """Each setting applies to a model, and each of its choices and bounds is one that the configuration takes.

    Raises InvalidValueError or ConfigError for the first that is not.
    """
    models = list(models)
    for name, values in config.tune.settings.items():
        having = [model for model in models if name in tried_with(config, model)]
        if not having:
            raise InvalidValueError(f"[tune.settings] {name}: none of the models ({', '.join(models)}) has this option")
        for value in values if isinstance(values, list) else (values.low, values.high):
            with_values(config, having[0], {name: value})
