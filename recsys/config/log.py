"""The section of the event log and of ingestion."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from recsys.config.section import Count, Section
from recsys.config.units import Duration, Size, byte_count, milliseconds
from streaming.log.open_log import local_path, split_url


class Mapping(Section):
    """How the columns of a CSV or Parquet file become events of one kind."""

    files: str = "*"
    """Pattern of file names; the first mapping that matches a file's name applies."""
    kind: Literal["impression", "interaction", "user", "item"] = "interaction"
    columns: dict[str, str] = {}
    """From the event's field (`time`, `user`, `item`, `items`, `features.NAME`, ...) to the column."""
    time_unit: Literal["ms", "s", "iso"] = "ms"
    separator: str = "|"
    """Between the values of a list in one CSV cell."""

    @field_validator("columns", mode="before")
    @classmethod
    def _flat(cls, columns: Any) -> Any:
        for parent, inner in columns.items() if isinstance(columns, dict) else ():
            if isinstance(inner, dict):
                name, column = next(iter(inner.items()), ("NAME", "COLUMN"))
                wanted = f'"{parent}.{name}" = "{column}"'
                raise ValueError(f"TOML reads a name with a dot as a table: quote it, {wanted}")
        return columns

    @model_validator(mode="after")
    def _complete(self) -> Self:
        from streaming.ingest import column_mapping

        column_mapping.Mapping(self.kind, self.columns)
        return self


class LogSection(Section):
    """The event log, and which events it accepts."""

    url: str = "file:run/log"
    """`file:FOLDER`."""
    dead_letters: Path = Path("run/dead-letters.jsonl")
    partitions: Count = 1
    max_line: Size = byte_count("1MiB")
    max_future: Duration = milliseconds("5m")
    """Events further ahead of the clock are dead letters, because the newest event closes the windows of all others."""
    unknown_features: Literal["keep", "refuse"] = "keep"
    """Whether an event may have a feature that no field reads; logs get new features before models use them."""
    deduplication_window: Count = 1_000_000
    """Number of event ids remembered to recognise duplicates."""
    mapping: list[Mapping] = []

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        split_url(url)
        return url

    @property
    def source_offsets(self) -> Path:
        """The folder that remembers how far each source was read into this log."""
        scheme, place = split_url(self.url)
        if scheme == "file":
            return Path(place) / "sources"
        return self.dead_letters.parent / f"sources-{hashlib.sha256(self.url.encode()).hexdigest()[:16]}"

    def rooted(self, folder: Path) -> Self:
        """The same section with its paths absolute below `folder`."""
        scheme, _ = split_url(self.url)
        path = local_path(self.url)
        url = self.url if path is None else f"{scheme}:{folder / path}"
        return super().rooted(folder).model_copy(update={"url": url})
