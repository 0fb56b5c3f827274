"""Training: which labels are learned, how, and how often it is kept and published."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from embedding.store import INIT_SCALE
from recsys.config.sections.learning.debiasing import DebiasingSection
from recsys.config.sections.learning.negatives import NegativesSection
from recsys.config.sections.learning.ssl import SslSection
from recsys.config.sections.section import Count, Positive, Section, error_at
from recsys.config.units import Duration, milliseconds
from recsys.errors import InvalidValueError
from serving.replication.keys import ONLINE, ModelKeys
from serving.settings import FilePath


def _url_schemes() -> set[str]:
    """Those that pyarrow opens itself, and those of fsspec where it is installed, some of which need a package more."""
    known = {"file", "s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs"}
    if find_spec("fsspec") is not None:
        from fsspec import available_protocols

        known |= set(available_protocols())
    return known


class TrainingSection(Section):
    """Labels, and how the model learns from them."""

    positive: Annotated[list[str], Field(min_length=1)] = ["click"]
    """Actions that make a label of the first task, `click`, positive, and that experiments count as clicks."""
    min_value: float | None = None
    """An action with a smaller value makes the label negative."""
    labels: Literal["paced", "held"] = "paced"
    """When silence is learned: at the pace of clicks, or, like everything else, when the window closes."""
    wait: Duration = milliseconds("30m")
    """How long (event time) a shown item waits for an interaction before its label is negative."""
    lateness: Duration = milliseconds("1m")
    """How far (event time) events may be out of order."""
    max_pending: Count = 200_000
    """Impressions that wait for interactions at the same time."""
    pending_folder: FilePath | None = None
    """For files in which they wait, so that memory holds only those that are in use; without it all are in memory."""
    batch_size: Count = 256
    dense_lr: Positive = 0.001
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the running mean over steps of the dense weights that score; 0 scores with the latest."""
    sparse_lr: Positive = 0.05
    optimizer: Literal["rowwise_adagrad", "adagrad", "adam", "ftrl"] = "rowwise_adagrad"
    max_norm: Positive | None = None
    """Of the gradient of a row in a step; a longer one is scaled down to it."""
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Weight of the penalty l2 / 2 |w|^2 of each embedding row that a step reads."""
    init_scale: Positive = INIT_SCALE
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    threads: Count = 1
    workers: Count = 1
    """Processes of `recsys train`, started by Ray, that divide embedding rows and batches among them."""
    min_workers: Annotated[int, Field(ge=0)] = 0
    """Fewest processes to go on with while Ray has no room for all `workers`; 0 waits for room for all."""
    ray: str = ""
    """Address of the Ray cluster for the workers; empty starts Ray on this machine alone."""
    publish_as: str = ONLINE
    """The name under which the model is published. Another trainer beside this one has another, and is a challenger."""
    take_over: Literal["validated", "caught_up", "at_once", "never"] = "validated"
    """When a run learned anew replaces the one that is served: once it has read the log and is no worse by progressive
    validation; once it has read the log; once it has learned anything; or never."""
    keep_run: Duration = milliseconds("1d")
    """How long the replaced run stays in Redis, so that `recsys rollback` serves it again; at least a minute."""
    checkpoints: FilePath = Path("run/checkpoints")
    checkpoint_url: str = ""
    """Where checkpoints are copied to, and brought from when the folder has none as new; empty for nowhere."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    increments: Annotated[int, Field(ge=0)] = 0
    """Most checkpoints in a row that have only the embedding rows that changed since the one before; 0 for none."""
    batches_folder: FilePath | None = None
    """For the batches that were learned from, which a replay may read in place of the log; None keeps none."""
    keep_batches: Duration | None = None
    """Batches older than the newest by more (event time) are removed, by whole files; None keeps all."""
    keep: Annotated[int, Field(ge=2)] = 3
    """Checkpoints kept; at least two, so that training can resume if the newest is damaged."""
    cold_folder: FilePath = Path("run/cold")
    """Where rows of tables with a `cold_capacity` are while the trainer runs: on a disk, not in memory."""
    metrics: Annotated[str, Field(pattern=r"^([^:\s]+:\d{1,5})?$", description="HOST:PORT, such as 127.0.0.1:9100")] = (
        ""
    )
    """HOST:PORT at which the trainer shows its figures to Prometheus; empty for none."""
    tensorboard: FilePath | None = None
    """Folder for the curves of `recsys train` and `recsys fit`, as TensorBoard reads them."""
    export_every: Duration = milliseconds("30s")
    """How often dense weights go to serving; loading them takes a server 0.1 s. Rows go every `redis.publish_every`."""
    negatives: NegativesSection = NegativesSection()
    debiasing: DebiasingSection = DebiasingSection()
    ssl: SslSection = SslSection()

    @field_validator("publish_as")
    @classmethod
    def _names_a_model(cls, name: str) -> str:
        return ModelKeys(name).model

    @field_validator("keep_run")
    @classmethod
    def _lets_servers_change(cls, keep: int) -> int:
        if keep < milliseconds("1m"):
            raise InvalidValueError('is less than the minute in which servers leave a run: write "1m" or more')
        return keep

    @field_validator("checkpoint_every", mode="before")
    @classmethod
    def _counts_steps(cls, value: object) -> object:
        if isinstance(value, str):
            raise InvalidValueError(f'counts steps of training, not time: write a whole number, not "{value}"')
        return value

    @field_validator("checkpoint_url")
    @classmethod
    def _names_a_folder(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if url and not (scheme and separator and rest):
            raise InvalidValueError("write a URL such as s3://BUCKET/PATH?region=eu-west-1, or leave it empty")
        if url and scheme.lower() not in (known := _url_schemes()):
            near = get_close_matches(scheme.lower(), known, n=1)
            meant = f"{near[0]}://" if near else "s3, gs, abfs, hdfs, file or another that fsspec knows"
            raise InvalidValueError(f"{scheme}:// is unknown, write {meant}")
        if "@" in rest.partition("/")[0]:
            raise InvalidValueError("a URL is shown: let the credentials be found in the environment, or by a role")
        return url

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if self.labels == "held" and not self.wait:
            raise error_at(
                ("labels",), 'held has no effect with wait = "0s": no label is held. Set wait, or write paced'
            )
        if self.negatives.on and self.debiasing.positions:
            raise error_at(
                ("debiasing", "positions"),
                "needs training.negatives.rate = 1.0: how often positions are examined is no rate that sampling can be "
                "corrected for. Leave one of the two out",
            )
        if self.workers > 1:
            self._check_shared()
        elif self.ray or self.min_workers:
            name = "ray" if self.ray else "min_workers"
            raise error_at((name,), f"has no effect with one worker. Set workers, or leave {name} out")
        if self.keep_batches is not None and self.batches_folder is None:
            raise error_at(("keep_batches",), "has no effect without batches_folder. Set that, or leave it out")
        if self.min_workers > self.workers:
            raise error_at(("min_workers",), f"is more than workers = {self.workers}. Lower it, or raise workers")
        return self

    def _check_shared(self) -> None:
        """Whether the tables can be divided among workers: by FBGEMM, which has fewer optimizers."""
        if self.optimizer not in ("rowwise_adagrad", "adagrad"):
            raise error_at(("optimizer",), f"{self.optimizer} has one worker only. Write rowwise_adagrad or adagrad")
        if self.ssl.on:
            raise error_at(("ssl", "method"), "needs workers = 1. Leave it out, or train with one worker")
        if self.max_norm is not None:
            raise error_at(("max_norm",), "needs workers = 1. Leave it out, or train with one worker")
        if self.increments:
            raise error_at(("increments",), "needs workers = 1. Leave it out, or train with one worker")
        if self.l2:
            raise error_at(("l2",), "needs workers = 1. Leave it out, or train with one worker")
