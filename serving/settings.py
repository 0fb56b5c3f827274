"""The section `[serving]` of recsys.toml: each setting is declared here, and nowhere else."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field

from recsys.errors import InvalidValueError
from serving.api_key import ApiKey
from serving.limits import ITEM_FEATURE, ITEM_FEATURE_IN_WORDS, MOST_BOOSTS, SOURCES, Limits, check_shares
from serving.ranking.boost import Boost
from serving.ranking.diversity import Diversity
from serving.ranking.exploration import LEAST_TEMPERATURE
from serving.ranking.group_scores import check_groups
from serving.replication.keys import CHAMPION, ModelKeys
from serving.retrieval.fair_merge import Rule
from serving.retrieval.item_group import ItemGroup
from streaming.encode.feature_spec import Field as FeatureField

_ORIGIN = re.compile(r"(http(?!.*:80$)|https(?!.*:443$))://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?")

MILLISECONDS: Final = "ms"
"""Marks a duration: a number here, in recsys.toml text such as `200ms`."""

Duration = Annotated[int, MILLISECONDS]
FilePath = Annotated[Path, Field(strict=False)]
"""A path, which TOML has as text."""
Count = Annotated[int, Field(ge=1)]
ItemFeature = Annotated[str, Field(pattern=f"^$|{ITEM_FEATURE}", description=ITEM_FEATURE_IN_WORDS)]
"""A feature of items, such as `item.price`; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """What a person may set of the HTTP server. The bounds are those of the file (`recsys.config.sections.section`).

    Raises InvalidValueError for settings that contradict each other.
    """

    host: str = "127.0.0.1"
    without_keys: bool = False
    """Whether the server may listen on other addresses than this machine's own without keys, so that all who reach it
    may use it."""
    api_keys: list[ApiKey] = field(default_factory=list)
    """Without keys all who reach the server may use it."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    processes: Annotated[int, Field(ge=1, le=256)] = 1
    """That serve on the port; they share `cache_rows`, `max_connections` and the rates of keys evenly."""
    certificate: FilePath | None = None
    """With the chain up to the authority. The server then speaks TLS, and nothing else."""
    private_key: FilePath | None = None
    """Of the certificate, without a password."""
    cors_origins: list[str] = field(default_factory=list)
    """Web pages of these origins may ask from browsers, such as `https://shop.example`."""
    max_connections: Count = 500
    """Most that are open at once; when another client comes, the one that has waited longest for its client is closed.
    """
    max_header: Annotated[int, Field(ge=1024)] = 16_384
    """Most bytes of a request before its body."""
    max_body: Annotated[int, Field(ge=1024)] = 8 << 20
    """Most bytes of a request's body."""
    header_timeout: Annotated[Duration, Field(gt=0)] = 10_000
    """From the first byte of a request to the last of its header."""
    body_timeout: Annotated[Duration, Field(gt=0)] = 60_000
    """From there to the last byte of the body; also for a client to take an answer."""
    tracing: bool = False
    """Whether spans of requests are sent by OpenTelemetry's protocol, as its variables `OTEL_...` say."""
    engine: Literal["auto", "openvino", "onnxruntime", "numba"] = "auto"
    """What computes the model; `numba`: the kernel of AutoInt, and for other models as `auto`."""
    precision: Literal["float32", "mixed", "bfloat16"] = "float32"
    """What the model scores in: bfloat16 while the processor has it and the error, which is measured, is small; with
    the kernel of AutoInt `mixed`, which has bfloat16 where it changes scores least."""
    threads: Count = 1
    cache_rows: Annotated[int, Field(ge=2)] = 1_000_000
    """Embedding rows kept in this process, for each model."""
    max_candidates: Annotated[int, Field(ge=1, le=10_000)] = 2000
    retrieve: Count = 200
    """Candidates that `/v1/recommend` retrieves before ranking."""
    shares: Mapping[str, float] = field(default_factory=lambda: {"two_tower": 0.4, "popular": 0.3, "recent": 0.2})
    """By source, the minimum share of them; it is also the source's weight where places are left."""
    merge: Rule = "borda"
    """Which items are worth most: `borda`, by the sum of their places in the sources; `chamberlin_courant`: first those
    by which every source is represented near its top."""
    minimums: list[ItemGroup] = field(default_factory=list)
    """Groups of items that have a minimum share of the candidates, too, such as those of small creators."""
    available_from: ItemFeature = ""
    """The feature of items that holds the time (ms of event time) from which on they are candidates."""
    available_until: ItemFeature = ""
    """The same of the time from which on they are candidates no more."""
    prerank: Annotated[int, Field(ge=0)] = 0
    """Most candidates that the model scores: of more, those that are best by a cheap score; 0: all."""
    prerank_checked: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the requests with more candidates of which the model scores all, which measures what is lost."""
    score: Mapping[str, float] = field(default_factory=lambda: {"click": 1.0})
    """Items are ranked by the sum of these weights times the probabilities of the tasks that they belong to."""
    score_by: str = ""
    """The feature of users, such as `request.plan`, by whose values `scores` are; empty: all have `score`."""
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Instead of `score`, by the value of that feature; users with another one, or none, have `score`."""
    boosts: Annotated[list[Boost], Field(max_length=MOST_BOOSTS)] = field(default_factory=list)
    """What raises or lowers the scores of items with a value of a feature."""
    deadline: Annotated[Duration, Field(gt=0)] = 200
    overload: Literal["refuse", "popularity"] = "refuse"
    """What becomes of requests that cannot be ranked by the model within `deadline`: refused with 429 when they come,
    or ranked by popularity when it has passed."""
    durable: bool = False
    """Whether an answer waits, for at most `deadline`, until its impression is stored, so that kill -9 loses none."""
    exploration: Literal["none", "plackett_luce", "epsilon", "thompson"] = "none"
    temperature: Annotated[float, Field(ge=LEAST_TEMPERATURE, lt=math.inf)] = 1.0
    epsilon: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Of `epsilon` and `thompson`: the chance of each position to be filled with any item that is left, instead of the
    best."""
    thompson_by: str = ""
    """Of `thompson`: the numeric feature that says how often an item was shown, such as `item.count(impression, 7d)`.
    """
    shadow: list[str] = field(default_factory=list)
    """Models that score what was shown after the answer, for the log alone: challengers."""
    diversity_by: str = ""
    """The feature of items, such as `item.genres`, whose values say how alike two are; empty: variety is not measured.
    """
    diversity: Annotated[float, Field(ge=0)] = 0.0
    """What variety is worth beside the score: see `serving.ranking.diversity.Diversity`."""
    attribution: Annotated[Duration, Field(gt=0)] = 6 * 3_600_000
    """How long (wall-clock time) after an impression a click still counts in experiments."""

    max_attributed: Count = 1_000_000
    """Most impressions within `attribution`; more are left out of the counts of experiments. Each takes 0.3 KB."""

    def __post_init__(self) -> None:
        self._check_access()
        self._check_web()
        self._check_shadow()
        Limits(self.max_candidates, self.retrieve)
        try:
            check_shares(self.shares, SOURCES, sum(group.share for group in self.minimums))
        except InvalidValueError as error:
            raise InvalidValueError(f"shares: {error}") from None
        if not any(self.score.values()):
            raise InvalidValueError("score: all weights are 0, so all items would rank alike; write { click = 1.0 }")
        for boost in self.boosts:
            if not boost.changes:
                raise InvalidValueError(f"boosts: that of {boost.feature} has no effect: write times, or plus")
        check_groups(self.score_by, self.scores)
        self._check_diversity()
        self._check_prerank()
        self._check_precision()
        self._check_exploration()

    @property
    def evidence(self) -> str:
        """The name that events have `thompson_by` under. Raises InvalidValueError if it is no feature of items."""
        field = FeatureField("evidence", "numeric", self.thompson_by)
        if not field.of_item:
            raise InvalidValueError(f"{self.thompson_by!r} is no feature of items, such as item.count(impression, 7d)")
        return field.feature

    def _check_exploration(self) -> None:
        kinds = {"temperature": ("plackett_luce",), "epsilon": ("epsilon", "thompson"), "thompson_by": ("thompson",)}
        defaults = {"temperature": 1.0, "epsilon": 0.1, "thompson_by": ""}
        for name, of in kinds.items():
            if self.exploration not in of and getattr(self, name) != defaults[name]:
                raise InvalidValueError(
                    f"{name}: {getattr(self, name)} has no effect while exploration is {self.exploration}: set "
                    f"exploration to {of[0]}, or delete {name}"
                )
        if self.exploration == "thompson":
            if not self.thompson_by:
                message = (
                    "thompson needs thompson_by, such as item.count(impression, 7d): write it, or another exploration"
                )
                raise InvalidValueError(f"exploration: {message}")
            try:
                _ = self.evidence
            except InvalidValueError as error:
                raise InvalidValueError(f"thompson_by: {error}") from None

    @property
    def available_times(self) -> tuple[str, str]:
        """The names that events have both features under."""
        return self.available_from.removeprefix("item."), self.available_until.removeprefix("item.")

    def _check_precision(self) -> None:
        if self.precision == "bfloat16" and self.engine == "onnxruntime":
            raise InvalidValueError(
                "precision: onnxruntime computes in float32: set engine to openvino, or delete precision"
            )
        if self.precision == "bfloat16" and self.engine == "numba":
            raise InvalidValueError("precision: numba has mixed instead: write that, or set engine to openvino")
        if self.precision == "mixed" and self.engine != "numba":
            raise InvalidValueError("precision: only numba has mixed: set engine to numba, or delete precision")

    def _check_diversity(self) -> None:
        if self.diversity_by:
            try:
                Diversity(self.diversity_by)
            except InvalidValueError as error:
                raise InvalidValueError(f"diversity_by: {error}") from None
        elif self.diversity:
            raise InvalidValueError(
                "diversity: has no effect without diversity_by, which says what makes items alike; write "
                'diversity_by = "item.genres", or another feature of your items'
            )

    def _check_prerank(self) -> None:
        most = max(self.max_candidates, self.retrieve)
        if self.prerank >= most:
            raise InvalidValueError(
                f"prerank: {self.prerank} has no effect, no request has more than {most} candidates: lower it, or "
                "raise retrieve or max_candidates"
            )
        if not self.prerank and self.prerank_checked != 0.01:
            raise InvalidValueError("prerank_checked: has no effect without prerank; set prerank, or delete it")

    def _check_shadow(self) -> None:
        for number, name in enumerate(self.shadow):
            if name in self.shadow[:number]:
                raise InvalidValueError(f"shadow: names {name!r} twice; delete one")
            if name != CHAMPION:
                try:
                    ModelKeys(name)
                except InvalidValueError as error:
                    raise InvalidValueError(f"shadow: {error}") from None

    def _check_access(self) -> None:
        for what in ("name", "sha256"):
            seen = [getattr(key, what) for key in self.api_keys]
            for key, value in zip(self.api_keys, seen, strict=True):
                if seen.count(value) > 1:
                    raise InvalidValueError(f"api_keys: two have the {what} of {key.name!r}; each has its own")
        if self.api_keys and self.without_keys:
            raise InvalidValueError("without_keys: has no effect, there are keys. Delete one of both")
        if not (self.api_keys or self.without_keys or _is_loopback(self.host)):
            raise InvalidValueError(
                f"host: others can reach {self.host}, and the server has no keys. Make one with `recsys key create`, "
                "or write without_keys = true, if all who reach it may use it"
            )

    def _check_web(self) -> None:
        for one, other in (("certificate", "private_key"), ("private_key", "certificate")):
            if getattr(self, one) and not getattr(self, other):
                raise InvalidValueError(f"{one}: has no effect without {other}; name the PEM files of both")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise InvalidValueError(
                    f"cors_origins: no browser sends {origin!r} as an origin: write scheme and host in small letters, "
                    "without a path or the scheme's own port, such as https://shop.example"
                )

    def shared(self, processes: int) -> Self:
        """What each of so many processes may take, so that all together take what is set."""
        keys = [key.shared(processes) for key in self.api_keys]
        rows, connections = max(self.cache_rows // processes, 2), max(self.max_connections // processes, 1)
        return replace(self, cache_rows=rows, max_connections=connections, api_keys=keys)

    def rooted(self, folder: Path) -> Self:
        """The same settings with their paths absolute below `folder`."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        paths: dict[str, Any] = {name: folder / value for name, value in values.items() if isinstance(value, Path)}
        return replace(self, **paths)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
