"""The section of the event log and of ingestion."""

from __future__ import annotations

from collections.abc import Mapping as Names
from datetime import datetime
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from recsys.config.sections.section import Count, Section
from recsys.config.units import Duration, Size, byte_count, milliseconds
from recsys.errors import InvalidValueError
from serving.settings import FilePath
from streaming.encode.feature_spec import Kind
from streaming.ingest.formats.open_source import Format, check_text, dialect
from streaming.ingest.mapping import column_mapping
from streaming.ingest.mapping.column_mapping import Shape
from streaming.ingest.mapping.event_time import Unit, epoch_millis
from streaming.log.open_log import check_keep, local_path, split_url


class MappingSection(Section):
    """How the columns of a table become events of one kind."""

    files: str = "*"
    """Pattern of the end of a file's path, such as `clicks*.csv` or `clicks/*.parquet`; the first that fits applies,
    with all others of the same pattern."""
    kind: Shape = "interaction"
    columns: dict[str, str | list[str]] = {}
    """From the event's field (`time`, `user`, `item`, `items`, `features.NAME`, ...) to the column; in JSON lines a
    path such as `context.user`. Several columns make an `id` or `impression` together, else the first with a value."""
    action: str = ""
    """What was done in every row of interactions or feedback without a column for it, such as `purchase`."""
    where: dict[str, str | list[str]] = {}
    """Of files with rows of several kinds: the value, or any of the values, that rows of this kind have in a column."""
    format: Format | None = None
    """By default what the suffix says."""
    time_unit: Unit = "ms"
    time_format: str = ""
    """Of times in text, such as `%d-%m-%Y %H:%M`; without it they are in `time_unit` too."""
    origin: Annotated[datetime | None, Field(strict=False)] = None
    """What numbers of `time_unit` count from, such as day 0; of a `time_format` without a year, from when on."""
    time_of_day_format: str = ""
    """Of a column `time_of_day` beside the day in `time`, such as `%H%M`; by default 13:45, 1:45 pm, or hours."""
    start: Annotated[datetime | None, Field(strict=False)] = None
    """When the first row happened in a file without times, and the time between two rows:"""
    interval: Duration = milliseconds("1s")
    separator: str = "|"
    """Between the values of a list in one cell."""
    decimal: Literal[".", ","] = "."
    """Before the fraction of a number in text; with a comma, points and spaces group digits, as in 1.234,50."""
    label_separator: str = ""
    """Between an item of a list and its label, in `items` and `actions.NAME`."""
    positive_values: list[str] = []
    """What means yes in the column of an `actions.NAME`; by default true and numbers above 0."""
    anonymous: Literal["refuse", "request"] = "refuse"
    """Of lists without a user: whether they are refused, or get a user of their own."""
    repeated_items: Literal["refuse", "first", "last"] = "refuse"
    """Which place counts of an item that is in a list more than once."""
    apart: bool = False
    """Of shown items: whether rows of one `id` stand anywhere in the file; needs `recsys ingest --sort`."""
    negatives_within: Duration = milliseconds("1h")
    """Of feedback: longest time between two rows that are shown together."""
    seed: int = Field(0, ge=0)
    """Of feedback: fixes which row of two is the list."""
    null_values: list[str] = ["", "null", "NULL", "nan", "NaN", "None", r"\N"]
    """Text that stands for a missing value."""
    delimiter: str | None = None
    """Between cells; by default a comma, in TSV a tab."""
    quote: str | None = None
    """Around cells; empty for none. By default a quotation mark, in TSV none."""
    escape: str = ""
    """Before a quote or delimiter that is a part of a cell."""
    header: bool | list[str] = True
    """Whether the first row names the columns; otherwise their names, or false for numbers from "1"."""
    comment: str = ""
    """Beginning of lines that are no rows."""
    encoding: str = "utf-8"

    @property
    def text(self) -> dict[str, Any]:
        """The settings of delimited text that are not the default."""
        names = ("delimiter", "quote", "escape", "header", "comment", "encoding")
        given = {
            name: getattr(self, name) for name in names if getattr(self, name) != type(self).model_fields[name].default
        }
        return given | ({"header": tuple(self.header)} if isinstance(self.header, list) else {})

    def fits(self, file: Path) -> bool:
        """Whether the pattern fits the end of the file's path."""
        return file.absolute().match(self.files)

    @field_validator("columns", mode="before")
    @classmethod
    def _flat(cls, columns: Any) -> Any:
        for parent, inner in columns.items() if isinstance(columns, dict) else ():
            if isinstance(inner, dict):
                name, column = next(iter(inner.items()), ("NAME", "COLUMN"))
                wanted = f'"{parent}.{name}" = "{column}"'
                raise InvalidValueError(f"TOML reads a name with a dot as a table: quote it, {wanted}")
        return columns

    def rows(self, kinds: Names[str, Kind | None]) -> column_mapping.Mapping:
        """What the rows are; `kinds` are those of features. Raises InvalidValueError if something is missing."""
        return column_mapping.Mapping(
            self.kind,
            self.columns,
            self.time_unit,
            self.separator,
            kinds,
            tuple(self.null_values),
            self.time_format,
            tuple(self.positive_values),
            self.label_separator,
            self.anonymous,
            self.repeated_items,
            None if self.start is None else epoch_millis(self.start),
            self.interval,
            self.negatives_within,
            self.seed,
            self.apart,
            {column: [one] if isinstance(one, str) else one for column, one in self.where.items()},
            self.decimal,
            None if self.origin is None else epoch_millis(self.origin),
            self.time_of_day_format,
            self.action,
        )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self.rows({})
        if self.format is not None:
            check_text(self.format, self.text)
        else:
            dialect("csv", self.text)
        return self


def _covers(pattern: str, other: str) -> bool:
    """Whether `pattern` fits all files that `other` fits, as far as stars tell."""
    return not set("?[") & set(pattern) and "**" not in other and PurePath(other).match(pattern)


class LogSection(Section):
    """The event log, and which events it accepts."""

    url: str = "file:run/log"
    """`file:FOLDER`."""
    dead_letters: FilePath = Path("run/dead-letters.jsonl")
    partitions: Count = 1
    keep: Duration | None = None
    """Of a log in files: events older than its newest ones by more are removed, by whole segments; None keeps all."""
    max_line: Size = byte_count("1MiB")
    max_future: Duration = milliseconds("5m")
    """Events further ahead of the clock are dead letters, because the newest event closes the windows of all others."""
    unknown_features: Literal["keep", "refuse"] = "keep"
    """Whether an event may have a feature that no field reads; logs get new features before models use them."""
    deduplication_window: Count = 1_000_000
    """Number of event ids remembered to recognise duplicates."""
    sort_memory: Size = byte_count("256MiB")
    """What `recsys ingest --sort` holds in memory; the rest is sorted on disk."""
    mapping: list[MappingSection] = []

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        split_url(url)
        return url

    @field_validator("keep")
    @classmethod
    def _removable(cls, keep: int | None, info: ValidationInfo) -> int | None:
        if "url" in info.data:
            check_keep(info.data["url"], keep)
        return keep

    @field_validator("mapping")
    @classmethod
    def _reachable(cls, mapping: list[MappingSection]) -> list[MappingSection]:
        patterns = list(dict.fromkeys(one.files for one in mapping))
        for number, later in enumerate(patterns):
            if earlier := next((one for one in patterns[:number] if _covers(one, later)), None):
                raise InvalidValueError(
                    f"the mapping of {later!r} is never used, because the one of {earlier!r} before it fits all its "
                    "files; put that one last"
                )
        return mapping

    def mappings(self, file: Path) -> list[MappingSection]:
        """The first mapping that fits the file, and the others of the same pattern."""
        pattern = next((one.files for one in self.mapping if one.fits(file)), None)
        return [one for one in self.mapping if one.files == pattern]

    @property
    def source_offsets(self) -> Path:
        """The folder that remembers how far each source was read into this log, by the log's name on a server.

        The name alone: other brokers or options in the URL are the same log, which its identity tells.
        """
        scheme, place = split_url(self.url)
        if scheme == "file":
            return Path(place) / "sources"
        return self.dead_letters.parent / f"sources-{Path(place.partition('?')[0]).name}"

    def rooted(self, folder: Path) -> Self:
        """The same section with its paths absolute below `folder`."""
        scheme, _ = split_url(self.url)
        path = local_path(self.url)
        url = self.url if path is None else f"{scheme}:{folder / path}"
        return super().rooted(folder).model_copy(update={"url": url})
