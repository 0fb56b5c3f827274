"""Redis: where it is, and what it holds of embedding rows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator, model_validator

from recsys.config.sections.section import Section, error_at
from recsys.config.units import Duration, milliseconds
from serving.replication.redis_url import checked
from serving.settings import FilePath


class RedisSection(Section):
    """Redis, which holds embedding rows, graphs and counters for serving."""

    url: str = ""
    """Empty: an embedded Redis that lives in `folder`. A password is named: `?password=env:NAME`."""
    folder: FilePath = Path("run/redis")
    publish_every: Duration = milliseconds("250ms")
    precision: Literal["float32", "half", "int8"] = "float32"
    """Of the embedding rows in Redis; trainer and row caches keep float32. What it costs: `docs/embedding.md`."""

    @field_validator("url")
    @classmethod
    def _of_redis(cls, url: str) -> str:
        return checked(url) if url else url

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if self.url and self.folder != type(self).model_fields["folder"].default:
            raise error_at(
                ("folder",), "has no effect: it is for an embedded Redis, and `url` names another. Delete one"
            )
        return self
