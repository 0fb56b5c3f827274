"""Requests of clients and their answers as types, from which the OpenAPI document is generated."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from recsys.errors import InvalidValueError
from serving.limits import ITEM_FEATURE, ITEM_FEATURE_IN_WORDS, MOST_BOOST, MOST_BOOSTS
from streaming.events.schema import Features, Id, Impression, Millis, Value

Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
MOST_LISTS = 200
"""Of one request."""


class ItemBoost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Makes the scores of the items that have the value of the feature, such as `item.maker`, `times` as large, and
    `plus` larger; it has one of both. Of several, products come first. A list has a value that it contains."""

    feature: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": ITEM_FEATURE})]
    value: str | bool | int
    times: Annotated[float, msgspec.Meta(ge=0, le=MOST_BOOST)] = 1.0
    plus: Annotated[float, msgspec.Meta(ge=-MOST_BOOST, le=MOST_BOOST)] = 0.0

    def __post_init__(self) -> None:
        if not re.fullmatch(ITEM_FEATURE, self.feature):
            raise InvalidValueError(f"field `feature` must be {ITEM_FEATURE_IN_WORDS}, not {self.feature!r:.80}")
        if self.times == 1 and self.plus == 0:
            raise InvalidValueError(f"that of {self.feature:.80} has no effect: write times, or plus")


ItemBoosts = Annotated[list[ItemBoost], msgspec.Meta(max_length=MOST_BOOSTS)]


class RankRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Candidates to be ranked for a user.

    `features` are those of the request and override the user's latest update. `item_features` holds, by name, one value
    per item and overrides the item's latest update. `count` is how many items are shown (default: all). `time` is the
    event time in ms (default: the server's clock). `experiment` names a configured experiment (default: the first).
    Without `log` the list is no impression yet: it is kept by the client, who sends the `event` of the answer when it
    is shown. With `explain` the answer has what the model attended to, if that is autoint; other models refuse.
    `boosts` are applied to scores beside those of `[serving]`.
    """

    user: Id
    items: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=10_000)]
    features: Features = {}
    item_features: dict[str, list[Value]] = {}
    count: Count | None = None
    time: Millis | None = None
    experiment: str = ""
    log: bool = True
    explain: bool = False
    boosts: ItemBoosts = []


class RecommendRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user for whom items are retrieved and ranked. Items in `exclude` are not shown.

    `basket` has what the user has chosen so far, which is not shown; the source `basket` finds what completes it.

    `where` names features of items and the values that they must have, such as {"genre": "Drama"}; a list has a value
    that it contains. An item without the feature is not shown. `log` and `boosts` as in `RankRequest`.
    """

    user: Id
    features: Features = {}
    exclude: Annotated[list[Id], msgspec.Meta(max_length=10_000)] = []
    basket: Annotated[list[Id], msgspec.Meta(max_length=1_000)] = []
    where: Features = {}
    count: Count = 20
    time: Millis | None = None
    experiment: str = ""
    log: bool = True
    boosts: ItemBoosts = []


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lists for several users, or several of one, as `/v1/recommend` makes them."""

    requests: Annotated[list[RecommendRequest], msgspec.Meta(min_length=1, max_length=MOST_LISTS)]


class FieldPair(msgspec.Struct, frozen=True):
    """Two fields and how much they attend to each other: the mean attention over layers, heads and both directions."""

    fields: tuple[str, str]
    weight: float


class AttentionWeights(msgspec.Struct, frozen=True):
    """`weights[layer][head][a][b]` is what field `a` takes from field `b`, in the order of `fields`; each row sums to
    1."""

    fields: list[str]
    weights: list[list[list[list[float]]]]


class RankedItem(msgspec.Struct, frozen=True):
    """`score` is the sum over the model's tasks of the configured weight times the predicted probability: with one task
    that probability. It is the popularity if `degraded` says so.

    `source` says where a recommended item came from: `two_tower` (its vector is near to the user's), `popular`,
    `recent`, `item_to_item` (clicked together with what the user clicked last), `history` (clicked by the user
    before) or `basket` (missing of a set that the basket begins); it is empty for an item of the request.
    `scores` has the probability of each task, where the model has several. `pairs` are the 10 pairs of fields that
    attend most to each other, largest first, of the first 10 items of an answer to `explain`. `boosted` is what the
    item was ranked by in the place of its score, where boosts changed that.
    """

    item: str
    score: float
    propensity: float
    source: str = ""
    scores: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    pairs: list[FieldPair] | msgspec.UnsetType = msgspec.UNSET
    boosted: float | msgspec.UnsetType = msgspec.UNSET


class Preranked(msgspec.Struct, frozen=True):
    """How many candidates the model did not score, because others were better by the cheap score `by`: `two_tower` (the
    product of the vectors of user and item) or `mean_logit` (what the model said of the item for others)."""

    by: str
    left_out: int


class RankResponse(msgspec.Struct, frozen=True):
    """A ranked list to show. Interactions with it name `impression`.

    `experiment` and `arm` are empty for a user who is in no experiment: held out, or not entered, or outside its time.

    If the model could not produce the ranking, `degraded` lists the reasons. Ranked by popularity: `no_model` (none
    published yet), `scorer` (the graph failed), `deadline` (no time was left). Ranked by the model with `rows` missing
    (Redis is unavailable, ids that are not cached count as unknown) or `features` missing (the same for features;
    ranked by popularity if one is of the wrong kind) or `tasks` missing (the model lacks tasks that the score counts;
    ranked by popularity if it lacks all). `no_items`: nothing to recommend. `log`: the list may not be
    in the log; with `[serving] durable`, an answer without this is.

    `event` is there if the request said not to log the list: an impression, to be sent to `/v1/events` when it is
    shown, with the time of that moment.

    `preranked` is there if the server left candidates out before the model scored the others (`[serving] prerank`).
    `attention` is that of the first item, if the request said `explain` and the model ranked.
    """

    impression: str
    items: list[RankedItem]
    experiment: str
    arm: str
    model: str
    degraded: list[str]
    event: Impression | msgspec.UnsetType = msgspec.UNSET
    preranked: Preranked | msgspec.UnsetType = msgspec.UNSET
    attention: AttentionWeights | msgspec.UnsetType = msgspec.UNSET


class ErrorDetail(msgspec.Struct, frozen=True):
    """What is wrong with a request. `field` is a path such as `items[3]`, empty for the whole request."""

    field: str
    message: str


class ErrorResponse(msgspec.Struct, frozen=True):
    error: ErrorDetail


class BatchAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The list, or why there is none; one of both."""

    answer: RankResponse | None = None
    error: ErrorDetail | None = None


class BatchResponse(msgspec.Struct, frozen=True):
    """One answer for each request, in their order."""

    answers: list[BatchAnswer]


class EventResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one event: `accepted` (stored durably), `duplicate` (stored before) or `rejected`."""

    status: str
    id: str = ""
    field: str = ""
    message: str = ""


class EventsResponse(msgspec.Struct, frozen=True):
    """One result per event, in the order of the request."""

    accepted: int
    duplicate: int
    rejected: int
    results: list[EventResult]
    error: ErrorDetail | None = None
    """The first error."""
    ignored_actions: dict[str, int] = {}
    """Accepted interactions by those of their actions that decide no label, so that nothing is learned from them."""
