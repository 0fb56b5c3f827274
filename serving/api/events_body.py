"""Bodies of `POST /v1/events`: one event, an array of events, or one event per line."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from serving.api.errors import BadRequestError, parse_reason
from serving.api.schemas import ErrorDetail, EventResult, EventsResponse
from streaming.ingest.codec import Reject, Rules, decode_lines

_array: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
_one: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)


def decode(body: bytes, now: int, rules: Rules) -> tuple[pa.RecordBatch, int, list[Reject]]:
    """Valid events, the number of all events, and the rejected ones. Raises BadRequestError for an unreadable body."""
    events = _split(body)
    if not events:
        raise BadRequestError("the body contains no events: send one, a JSON array of them, or one per line")
    batch, rejects = decode_lines(events, now, rules)
    return batch, len(events), rejects


def answer(batch: pa.RecordBatch, count: int, rejects: Sequence[Reject]) -> EventsResponse:
    """One result per event, in the order of the body."""
    details = {reject.line: parse_reason(reject.reason) for reject in rejects}
    ids = iter(batch.column("id").to_pylist())
    results = [_rejected(details[i]) if i in details else EventResult("accepted", next(ids)) for i in range(count)]
    first = details[min(details)] if details else None
    return EventsResponse(batch.num_rows, len(rejects), results, first)


def _rejected(detail: ErrorDetail) -> EventResult:
    return EventResult("rejected", "", detail.field, detail.message)


def _split(body: bytes) -> list[bytes]:
    if body.lstrip()[:1] == b"[":
        try:
            return [bytes(event) for event in _array.decode(body)]
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadRequestError(f"the array of events is not JSON: {error}") from error
    try:
        return [bytes(_one.decode(body))]
    except (msgspec.DecodeError, RecursionError):
        return [line for line in body.split(b"\n") if line.strip()]
