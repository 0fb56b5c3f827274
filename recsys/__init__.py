"""The recommender platform: configuration, models, training, replay and the command line.

`Recommender` and `Config` are for programs and notebooks. They are imported when they are first used, so that the
command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.config.schema import Config
    from recsys.recommender.recommender import Recommender

__all__ = ["Config", "Recommender"]

_PLACES = {"Config": "recsys.config.schema", "Recommender": "recsys.recommender.recommender"}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        try:
            return getattr(import_module(_PLACES[name]), name)
        except ModuleNotFoundError as error:
            from recsys.errors import RecsysError

            raise RecsysError(f"{name} needs `pip install 'recsys[all]'`: no module named {error.name}") from error
    raise AttributeError(f"module 'recsys' has no attribute {name!r}")
