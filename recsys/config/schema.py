"""The one configuration file, `recsys.toml`: what may stand in it, and what each setting means.

Pure data: importing this module imports no model, no engine and no server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from embedding.multiplexed import PREFIX
from recsys.config.units import Duration, Size, byte_count, milliseconds
from streaming.encode import feature_spec
from streaming.log.open_log import log_folder

Unit = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of the file. Unknown keys are errors, so that a typing slip is never a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_Section = TypeVar("_Section", bound=Section)


def _wrong(at: tuple[str, ...], message: str) -> PydanticCustomError:
    """A problem of the key `at` inside the section that finds it, for the file's line (see `recsys.config.file`)."""
    return PydanticCustomError("value_error", "{message}", {"at": at, "message": message})


class Mapping(Section):
    """How the columns of a CSV or Parquet file become events of one kind."""

    files: str = "*"
    """Pattern of the names of the files that this is for; the first mapping that fits is taken."""
    kind: Literal["impression", "interaction", "user", "item"] = "interaction"
    columns: dict[str, str] = {}
    """From the event's name (`time`, `user`, `item`, `items`, `features.NAME`, ...) to the column's."""
    time_unit: Literal["ms", "s", "iso"] = "ms"
    separator: str = "|"
    """Between the values of a list inside one CSV cell."""

    @field_validator("columns", mode="before")
    @classmethod
    def _flat(cls, columns: Any) -> Any:
        for parent, inner in columns.items() if isinstance(columns, dict) else ():
            if isinstance(inner, dict):
                name, column = next(iter(inner.items()), ("NAME", "COLUMN"))
                wanted = f'"{parent}.{name}" = "{column}"'
                raise ValueError(f"TOML reads a name with a point as a table: quote it, {wanted}")
        return columns

    @model_validator(mode="after")
    def _complete(self) -> Self:
        from streaming.ingest import column_mapping

        column_mapping.Mapping(self.kind, self.columns)
        return self


class LogSection(Section):
    """The event log and the edge in front of it."""

    url: str = "file:run/log"
    """`file:FOLDER`."""
    dead_letters: Path = Path("run/dead-letters.jsonl")
    partitions: Count = 1
    max_line: Size = byte_count("1MiB")
    max_future: Duration = milliseconds("5m")
    """Events later than the clock by more than this are dead letters: the newest event closes the windows of all."""
    unknown_features: Literal["keep", "refuse"] = "keep"
    """What happens to an event with a feature that no field reads: logs grow features before models do."""
    deduplication_window: Count = 1_000_000
    """Event ids remembered to recognise duplicates."""
    mapping: list[Mapping] = []

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        log_folder(url)
        return url

    @property
    def folder(self) -> Path:
        """The folder of a log in files."""
        return log_folder(self.url)

    def rooted(self, folder: Path) -> Self:
        """The same section with its paths absolute below `folder`."""
        return _with_paths_below(folder, self).model_copy(update={"url": f"file:{folder / self.folder}"})


class RowsSection(Section):
    """Redis, which holds rows, graphs and counters for serving."""

    url: str = ""
    """Empty: an embedded Redis that lives in `folder`."""
    folder: Path = Path("run/redis")
    publish_every: Duration = milliseconds("250ms")
    precision: Literal["float32", "half", "int8"] = "float32"
    """Of the rows in Redis; the trainer and the servers' caches keep float32. What it costs: `docs/embedding.md`."""

    @field_validator("url")
    @classmethod
    def _of_redis(cls, url: str) -> str:
        if url and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("write redis://HOST:PORT/0 (or rediss://, unix://); leave it empty for an embedded Redis")
        return url


class FieldSection(Section):
    """One field of the model's input; see `docs/architecture.md` for the sources."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    kind: Literal["categorical", "multi", "numeric"] = "categorical"
    source: str
    table: str = ""
    transform: Literal["none", "log", "log1p"] = "none"

    @model_validator(mode="after")
    def _readable(self) -> Self:
        self.to_field()
        return self

    @field_validator("table")
    @classmethod
    def _free(cls, table: str) -> str:
        if table.startswith(PREFIX):
            raise ValueError(f"{PREFIX} begins the names of shared rows, choose another name than {table!r}")
        return table

    def to_field(self) -> feature_spec.Field:
        return feature_spec.Field(**self.model_dump())


class TableSection(Section):
    """Settings of one embedding table; a table without settings takes `features.defaults`."""

    capacity: Annotated[int, Field(ge=1, lt=1 << 31)] = 1 << 20
    ttl: Duration | None = None
    admission: Literal["always", "count", "probabilistic"] = "always"
    threshold: Count = 1
    fallback: Literal["zeros", "multiplexed"] = "zeros"
    """What ids without a row read; `multiplexed` rows learn from ids that are not admitted, so set a threshold."""

    @model_validator(mode="after")
    def _countable(self) -> Self:
        if self.admission == "count" and self.threshold > 255:
            message = f"sightings are counted up to 255: choose 1 to 255, not {self.threshold}"
            raise _wrong(("threshold",), message)
        return self


class FeaturesSection(Section):
    """What the model reads, and how long the store remembers it."""

    dim: Annotated[int, Field(ge=4, le=256)] = 16
    fields: list[FieldSection] = [
        FieldSection(name="user", source="user"),
        FieldSection(name="item", source="item"),
        FieldSection(name="hour", source="time.hour"),
    ]
    defaults: TableSection = TableSection()
    tables: dict[str, TableSection] = {}
    entities: Count = 1_000_000
    """Users and items whose latest features are remembered."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        spec = feature_spec.FeatureSpec.of([field.to_field() for field in self.fields])
        if not any(field.of_item for field in spec.fields):
            raise ValueError("no field reads the item, so all candidates would score alike; add one with source `item`")
        known = {field.table or field.name for field in self.fields if field.kind != "numeric"}
        for name in self.tables:
            if name not in known:
                raise _wrong(("tables", name), f"no field reads this table; the tables are {sorted(known)}")
        return self


class ModelSection(Section):
    """The ranking model."""

    name: Literal["autoint", "fm"] = "autoint"
    form: Literal["paper", "code"] = "code"
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    heads: Count = 2
    units: Count = 32
    """Attention width: in all heads together (form `code`) or per head (form `paper`)."""
    mlp: list[Count] = [64, 32]
    """Hidden widths of AutoInt+'s deep part; empty for AutoInt."""
    wide: bool = False
    """AutoInt: coordinate 0 of each row is the id's first-order weight."""
    residual: bool = True
    dropout: Unit = 0.0
    """Share of attention weights dropped in training."""
    embedding_dropout: Unit = 0.0
    mlp_dropout: Unit = 0.0

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.form == "code" and self.units % self.heads:
            raise ValueError(
                f"units = {self.units} is the width of all heads together: a multiple of heads = {self.heads}"
            )
        return self


class TrainingSection(Section):
    """Labels, and how the model learns from them."""

    positive: list[str] = ["click"]
    """Actions that make a label positive."""
    min_value: float | None = None
    """With a value below this the action makes the label negative."""
    wait: Duration = milliseconds("30m")
    """How long (event time) an item may wait for its interaction before it counts as ignored."""
    lateness: Duration = milliseconds("1m")
    """How far out of order events may arrive."""
    max_pending: Count = 200_000
    """Impressions that wait for interactions at the same time."""
    batch_size: Count = 256
    dense_lr: Positive = 0.001
    sparse_lr: Positive = 0.05
    optimizer: Literal["rowwise_adagrad", "adagrad", "adam", "ftrl"] = "rowwise_adagrad"
    init_scale: Positive = 0.01
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    threads: Count = 1
    checkpoints: Path = Path("run/checkpoints")
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    keep: Annotated[int, Field(ge=2)] = 3
    """Checkpoints kept; at least two, so that a torn one has a predecessor."""
    export_every: Duration = milliseconds("30s")
    """How often dense weights go to serving; rows go with every publication. A server spends 0.1 s on each."""


class ServingSection(Section):
    """The HTTP server."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    engine: Literal["auto", "openvino", "onnxruntime"] = "auto"
    threads: Count = 1
    cache_rows: Annotated[int, Field(ge=2)] = 1_000_000
    max_candidates: Annotated[int, Field(ge=1, le=10_000)] = 2000
    retrieve: Count = 200
    """Candidates that `/v1/recommend` gathers before ranking."""
    recent_share: Unit = 0.2
    """Least share of them from the most recent items."""
    half_life: Annotated[Duration, Field(gt=0)] = milliseconds("7d")
    """Of an item's popularity, in event time."""
    deadline: Duration = milliseconds("200ms")
    exploration: Literal["none", "plackett_luce"] = "none"
    temperature: Positive = 1.0


class Arm(Section):
    """One arm: its share of users and the published model that ranks for them (`popularity` needs none)."""

    name: str
    model: str = "online"
    weight: Positive = 1.0


class Experiment(Section):
    """A split of users over arms, decided by a hash of the salt and the user."""

    name: str
    salt: str = ""
    """Empty: the experiment's name."""
    arms: Annotated[list[Arm], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"experiment {self.name!r}: two arms have the same name in {names}")
        if any(":" in name for name in (self.name, *names)):
            raise ValueError(f"experiment {self.name!r}: its name and those of its arms must not contain ':'")
        return self


class Config(Section):
    """The whole file. Relative paths are taken from the folder that holds it."""

    log: LogSection = LogSection()
    rows: RowsSection = RowsSection()
    features: FeaturesSection = FeaturesSection()
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    serving: ServingSection = ServingSection()
    experiments: list[Experiment] = []

    def rooted(self, folder: Path) -> Config:
        """The same configuration with its paths absolute below `folder`."""
        return Config.model_construct(**{k: _rooted(v, folder) for k, v in self})


def _rooted(value: Any, folder: Path) -> Any:
    if isinstance(value, LogSection):
        return value.rooted(folder)
    return _with_paths_below(folder, value) if isinstance(value, Section) else value


def _with_paths_below(folder: Path, section: _Section) -> _Section:
    return section.model_copy(update={k: folder / v for k, v in section if isinstance(v, Path)})
