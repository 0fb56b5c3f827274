"""The one configuration file, `recsys.toml`: what each setting means, its default and its bounds.

Pure data: importing this module imports no model, no engine and no server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from recsys.config.all_sections import AllSections
from recsys.config.messages import told
from recsys.config.sections.learning.retrieval import RetrievalSection
from recsys.config.sections.section import Section
from serving.settings import ServingSettings


class Config(AllSections):
    """The whole file. Relative paths are taken from the folder that holds it.

    Programs make one from its tables, `Config(training={"batch_size": 64})`. Raises ConfigError with every problem, in
    the words that the command line has for a file.
    """

    def __init__(self, **tables: Any) -> None:
        with _told(tables):
            super().__init__(**tables)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # `model_validate` does without it

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        with _told(obj):
            return super().model_validate(obj, **options)

    def without_retrieval(self) -> Self:
        """The same configuration for who judges the ranker alone: it learns the same without a two-tower model."""
        return self.model_copy(update={"retrieval": RetrievalSection()})

    def rooted(self, folder: Path) -> Self:
        """The same configuration with its paths absolute below `folder`."""
        sections = {name: value.rooted(folder) for name, value in self if isinstance(value, Section | ServingSettings)}
        return self.model_copy(update=sections)


@contextmanager
def _told(tables: Any) -> Iterator[None]:
    """Errors of pydantic as one of ours."""
    try:
        yield
    except ValidationError as error:
        raise told(tables if isinstance(tables, Mapping) else {}, error.errors()) from None
