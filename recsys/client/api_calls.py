"""What the clients ask for, and what an answer means; no input or output here."""

from __future__ import annotations

import contextlib
import operator
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from recsys.errors import InvalidValueError
from serving.api.messages.request_errors import (
    ApiError,
    BadRequestError,
    ForbiddenError,
    InvalidFieldError,
    NoKeyError,
    NotStoredError,
    OverloadedError,
    TooLargeError,
    UnknownRouteError,
)
from serving.api.messages.schemas import (
    BatchRequest,
    BatchResponse,
    ErrorResponse,
    EventsResponse,
    ItemBoost,
    RankRequest,
    RankResponse,
    RecommendRequest,
)
from streaming.events.schema import ClientEvent, Features, Interaction, Value

_BY_STATUS: dict[int, type[ApiError]] = {
    one.status: one
    for one in (BadRequestError, NoKeyError, ForbiddenError, TooLargeError, InvalidFieldError, NotStoredError)
}
_SHOWN = 200
"""Characters of an answer that is not the server's own, such as a proxy's."""
_DIGITS = 9
"""Of Retry-After that are read: 31 years."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[T]):
    """A request. `repeatable`: whether it does no more when it arrives twice."""

    method: str
    path: str
    body: bytes
    decode: Callable[[int, bytes], T]
    """Of the status and body of an answer that is no error."""
    repeatable: bool
    accepted: tuple[int, ...] = (200,)

    def result(self, status: int, body: bytes, headers: Mapping[str, str]) -> T:
        """Raises the ApiError of an answer that refuses, or that is none of the server's."""
        if status in self.accepted:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return self.decode(status, body)
        raise refusal(status, body, headers)


def base(url: str) -> str:
    """The server's address. Raises InvalidValueError if it is none."""
    with contextlib.suppress(httpx.InvalidURL):
        address = httpx.URL(url)
        if address.scheme in ("http", "https") and address.host and not address.query and not address.fragment:
            return url
    raise InvalidValueError(f"{url!r} is no address of a server: write it as http://127.0.0.1:8000")


def headers(key: str | None) -> dict[str, str]:
    """Of every request. Raises InvalidValueError, which does not show the key, if it cannot be one."""
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        raise InvalidValueError(
            "key: it is empty, or has spaces, line breaks or letters that no key has: strip what is read from a file"
        )
    return {"Content-Type": "application/json"} | ({} if key is None else {"Authorization": f"Bearer {key}"})


def refusal(status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """The error that the server answers with: its field and message, and the class of its status."""
    try:
        said = msgspec.json.decode(body, type=ErrorResponse).error
        message, field = said.message, said.field
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message, field = f"status {status}: {body[:_SHOWN].decode(errors='replace')}", ""
    after = headers.get("retry-after", "")
    seconds = int(after[:_DIGITS]) if after.isdecimal() else None
    if status == OverloadedError.status:
        return OverloadedError(message, seconds or 1)
    if status in _BY_STATUS:
        return _BY_STATUS[status](message, field)
    error = UnknownRouteError(message, status)
    error.retry_after = seconds
    return error


class Options(TypedDict, total=False):
    """Of both kinds of request: see `serving.api.messages.schemas.RankRequest`."""

    features: Features
    time: int
    experiment: str
    log: bool
    boosts: list[ItemBoost]


class RankOptions(Options, total=False):
    item_features: dict[str, list[Value]]
    count: int
    explain: bool


class RecommendOptions(Options, total=False):
    exclude: list[str]
    basket: list[str]
    where: Features
    count: int


def rank(user: str, items: Sequence[str], options: RankOptions) -> ApiCall[RankResponse]:
    if isinstance(items, str):
        raise InvalidValueError(f"items is {items!r}: give a list of ids, such as [{items!r}]")
    body = _encoded(RankRequest(user, list(items), **options))
    return ApiCall("POST", "/v1/rank", body, _decoder(RankResponse), repeatable=_repeatable(options))


def recommend(user: str, options: RecommendOptions) -> ApiCall[RankResponse]:
    body = _encoded(RecommendRequest(user, **options))
    return ApiCall("POST", "/v1/recommend", body, _decoder(RankResponse), repeatable=_repeatable(options))


def recommend_batch(users: Sequence[str], options: RecommendOptions) -> ApiCall[BatchResponse]:
    if isinstance(users, str):
        raise InvalidValueError(f"users is {users!r}: give a list of users, such as [{users!r}]")
    body = _encoded(BatchRequest([RecommendRequest(user, **options) for user in users]))
    return ApiCall("POST", "/v1/recommend/batch", body, _decoder(BatchResponse), repeatable=_repeatable(options))


def _repeatable(options: Options) -> bool:
    """A list that is not logged leaves nothing behind."""
    return not options.get("log", True)


def show(answer: RankResponse, at: int | None = None) -> ApiCall[EventsResponse]:
    """Raises InvalidValueError for an answer that the server has logged."""
    if answer.event is msgspec.UNSET:
        raise InvalidValueError("this list is an impression already, or empty: ask with log=False for one to keep")
    return _one(msgspec.structs.replace(answer.event, time=_time(at)))


def send(events: Iterable[ClientEvent | Mapping[str, Any]]) -> ApiCall[EventsResponse]:
    """Their content tells the server which of them it has already, so they can be sent again."""
    lines = [_encoded(event) for event in events]
    if not lines:
        raise InvalidValueError("there are no events to send: give at least one")
    decode = _decoder(EventsResponse)
    return ApiCall("POST", "/v1/events", b"[" + b",".join(lines) + b"]", decode, repeatable=True, accepted=(200, 422))


def interact(
    shown: RankResponse | str, item: str, action: str = "click", value: float = 1.0, at: int | None = None
) -> ApiCall[EventsResponse]:
    """Raises, when it is answered, InvalidFieldError if the server rejects the event."""
    impression = shown if isinstance(shown, str) else shown.impression
    return _one(Interaction(_time(at), impression, item, action, value))


def _one(event: ClientEvent) -> ApiCall[EventsResponse]:
    """Of one event, whose refusal is an error."""
    call = send([event])

    def decode(status: int, body: bytes) -> EventsResponse:
        answer = call.decode(status, body)
        if answer.error is not None:
            raise InvalidFieldError.of(answer.error)
        return answer

    return ApiCall(call.method, call.path, call.body, decode, repeatable=True, accepted=call.accepted)


def _time(at: int | None) -> int:
    if at is None:
        return time.time_ns() // 1_000_000
    try:
        return operator.index(at)
    except TypeError:
        raise InvalidValueError(
            f"at is {at!r}: give whole ms since 1970, such as int(when.timestamp() * 1000) of a datetime"
        ) from None


class _Erased(msgspec.Struct):
    """What is read of an `ErasureResponse`."""

    left: int


def forget(user: str) -> ApiCall[int]:
    decode = _decoder(_Erased)
    path = quote(user, safe="").replace(".", "%2E")  # else a user . or .. is a step in the path
    return ApiCall("DELETE", f"/v1/users/{path}", b"", lambda status, body: decode(status, body).left, repeatable=True)


def ready() -> ApiCall[bool]:
    return ApiCall("GET", "/readyz", b"", lambda status, _body: status == 200, repeatable=True, accepted=(200, 503))


def _encoded(value: object) -> bytes:
    """As JSON; scalars of NumPy are numbers, arrays and series are lists."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"this cannot be sent as JSON: {error}") from error


def _plain(value: Any) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _decoder(kind: type[T]) -> Callable[[int, bytes], T]:
    """Fields that a newer server adds are ignored."""
    decoder = msgspec.json.Decoder(kind)
    return lambda _status, body: decoder.decode(body)
