"""The data sets by the name that `recsys ingest --dataset` takes. Each importer is loaded when it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from recsys.datasets.card import Dataset

EXAMPLES = Path(__file__).parents[2] / "examples"
"""In the source tree only; the installed package does not include it."""


@dataclass(frozen=True, slots=True)
class Importer:
    """A function that reads a data set from a path, as `module:function`; `shipped` is a copy in the source tree."""

    function: str
    shipped: Path | None = None

    def open(self, path: Path) -> Dataset:
        """To be read within `holding`, which says so if the path does not hold the data set."""
        module, _, name = self.function.partition(":")
        read = cast("Callable[[Path], Dataset]", getattr(import_module(module), name))
        return read(path)


DATASETS = {
    "movielens-small": Importer("recsys.datasets.movielens:movielens_small", EXAMPLES / "ml-latest-small"),
    "globo": Importer("recsys.datasets.globo:globo"),
    "ml-1m": Importer("recsys.datasets.ml1m:ml1m"),
}
