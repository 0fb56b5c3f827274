"""The section of the model's input: fields, and the embedding tables that they read."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from embedding.multiplexed import PREFIX
from embedding.store import FALLBACK_ROWS
from recsys.config.sections.section import Count, Section, error_at
from recsys.config.units import Duration
from recsys.errors import InvalidValueError
from streaming.encode import feature_spec


class FieldSection(Section):
    """One field of the model's input; see `docs/architecture.md` for the sources."""

    name: Annotated[str, Field(pattern=r"^[^\W\d]\w*$", description="letters, digits and _, and begin with no digit")]
    """Letters of any language, digits and underscores."""
    kind: Literal["categorical", "multi", "numeric"] = "categorical"
    source: str
    table: str = ""
    transform: Literal["none", "log", "log1p"] = "none"
    scale: Literal["standard", "none"] = "standard"
    pooling: feature_spec.Pooling = "mean"

    @model_validator(mode="after")
    def _readable(self) -> Self:
        self.to_field()
        if self.kind == "numeric" and self.table:
            raise error_at(("table",), f"field {self.name!r} is numeric, and numbers have no rows: delete it")
        return self

    @field_validator("table")
    @classmethod
    def _free(cls, table: str) -> str:
        if table.startswith(PREFIX):
            raise InvalidValueError(
                f"names that begin with {PREFIX} are reserved for multiplexed rows: rename table {table!r}"
            )
        return table

    def to_field(self) -> feature_spec.Field:
        return feature_spec.Field(**self.model_dump())


class TableSection(Section):
    """Settings of one embedding table; `features.defaults` applies to a table without any."""

    dim: Annotated[int, Field(ge=1, le=256)] | None = None
    """Of the table's rows, which fill the first coordinates of their field's vector; `features.dim` by default."""
    capacity: Annotated[int, Field(ge=1, lt=1 << 31)] = 1 << 20
    cold_capacity: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    """Rows more that are kept in files of `training.cold_folder`, where those go that memory has no room for."""
    ttl: Annotated[Duration, Field(gt=0)] | None = None
    admission: Literal["always", "count", "probabilistic", "never"] = "always"
    threshold: Count = 1
    fallback: Literal["zeros", "multiplexed"] = "zeros"
    """What ids without an embedding row read; `multiplexed` rows are trained by ids not admitted: set a threshold."""
    shared_rows: Annotated[int, Field(ge=1, lt=1 << 31)] = FALLBACK_ROWS
    """Number of multiplexed rows, which all tables of a dimension share that have the same number."""

    @model_validator(mode="after")
    def _numbered(self) -> Self:
        if 2 * self.capacity + self.cold_capacity >= 1 << 31:
            message = f"must be less than 2147483648 less twice the capacity, not {self.cold_capacity}"
            raise error_at(("cold_capacity",), message)
        return self

    @model_validator(mode="after")
    def _countable(self) -> Self:
        if self.admission == "count" and self.threshold > 255:
            message = f"must be 1 to 255 with admission count, not {self.threshold}"
            raise error_at(("threshold",), message)
        return self

    @model_validator(mode="after")
    def _effective(self) -> Self:
        at_once = "every id gets a row when it is first seen"
        if self.admission == "always" and self.threshold > 1:
            raise error_at(
                ("threshold",),
                f"has no effect while admission is always: {at_once}. Set admission to count or probabilistic",
            )
        if self.admission == "count" and self.threshold == 1:
            raise error_at(
                ("admission",), f"count has no effect with threshold = 1: {at_once}. Raise threshold, or write always"
            )
        if self.fallback == "multiplexed" and self.admission == "always":
            raise error_at(
                ("fallback",),
                f"multiplexed has no effect while admission is always: {at_once}, so that no id reads or trains "
                "multiplexed rows. Set admission and threshold",
            )
        return self

    @model_validator(mode="after")
    def _shared(self) -> Self:
        if self.fallback != "multiplexed" and self.shared_rows != FALLBACK_ROWS:
            message = 'has no effect without fallback = "multiplexed": set that, or leave it out'
            raise error_at(("shared_rows",), message)
        if self.admission == "never" and self.fallback != "multiplexed":
            message = 'with never no id has a row of its own: set fallback = "multiplexed", or write always'
            raise error_at(("admission",), message)
        if self.admission == "never" and self.threshold > 1:
            raise error_at(("threshold",), "has no effect while admission is never: delete it")
        return self


class FeaturesSection(Section):
    """What the model reads, and the embedding tables behind it."""

    dim: Annotated[int, Field(ge=4, le=256)] = 16
    """Of the vectors that the model reads, and of the rows of tables without a `dim` of their own."""
    fields: list[FieldSection] = [
        FieldSection(name="user", source="user"),
        FieldSection(name="item", source="item"),
    ]
    defaults: TableSection = TableSection()
    tables: dict[str, TableSection] = {}
    entities: Count = 1_000_000
    """Number of users and items whose latest features are kept."""
    counted: Count = 200_000
    """Number of users, items and pairs of them for which the stream computes features, and of users' histories."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        spec = feature_spec.FeatureSpec.of([field.to_field() for field in self.fields])
        if not any(field.of_item for field in spec.fields):
            raise InvalidValueError(
                "no field reads the item, so all candidates would get the same score: add one with source `item`"
            )
        known = set(self.readers())
        for name in self.tables:
            if name not in known:
                raise error_at(
                    ("tables", name), f"no field reads this table; the tables are {', '.join(sorted(known))}"
                )
        self._check_dims(known)
        if known and known <= self.tables.keys() and self.defaults != TableSection():
            raise error_at(("defaults",), "has no effect: every table has its own section. Delete it")
        return self

    def readers(self) -> Counter[str]:
        """The tables, each with the number of its fields: a row has at least as many ids of it."""
        return Counter(field.table or field.name for field in self.fields if field.kind != "numeric")

    def dim_of(self, table: str) -> int:
        """The dimension of the table's rows."""
        section = self.tables.get(table, self.defaults)
        return section.dim or self.dim

    def _check_dims(self, names: set[str]) -> None:
        if self.defaults.dim is not None:
            raise error_at(("defaults", "dim"), "is for single tables: write features.dim for all others")
        for name in sorted(names):
            if self.dim_of(name) > self.dim:
                message = f"is more than features.dim = {self.dim}, that of the model's vectors: raise features.dim"
                raise error_at(("tables", name, "dim"), message)
        if names and (widest := max(map(self.dim_of, names))) < self.dim:
            message = f"no table has rows of so many coordinates, the widest has {widest}: lower it, or widen a table"
            raise error_at(("dim",), message)
