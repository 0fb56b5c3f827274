"""Bodies of `POST /v1/events`: one event, an array of events, or one event per line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import msgspec
import pyarrow as pa

from serving.api.messages.request_errors import BadRequestError, parse_reason
from serving.api.messages.schemas import ErrorDetail, EventResult, EventsResponse
from serving.event_writer import Stored
from streaming.events.columns import INTERACTION, kinds
from streaming.ingest.codec import Rules, decode_lines
from streaming.ingest.decoding import Reject
from streaming.ingest.duplicates.log_window import clash

_array: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
_one: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)


def decode(body: bytes, now: int, rules: Rules) -> tuple[pa.RecordBatch, int, list[Reject]]:
    """Valid events, the number of all events, and the rejected ones. Raises BadRequestError for an unreadable body."""
    events = _split(body)
    if not events:
        raise BadRequestError("the body contains no events: send one, a JSON array of them, or one per line")
    batch, rejects = decode_lines(events, now, rules)
    return batch, len(events), rejects


def answer(
    batch: pa.RecordBatch, count: int, rejects: Sequence[Reject], stored: Stored, learned: Collection[str]
) -> EventsResponse:
    """One result per event, in the order of the body. `stored` says what became of the valid ones, `batch`.

    `learned` are the actions that decide labels.
    """
    refused = {reject.line: _rejected("", reject.reason) for reject in rejects}
    valid = iter(_outcomes(batch, stored))
    results = [refused[i] if i in refused else next(valid) for i in range(count)]
    counts = Counter(result.status for result in results)
    first = next((result for result in results if result.status == "rejected"), None)
    error = ErrorDetail(first.field, first.message) if first else None
    ignored = _ignored(batch, stored, learned)
    return EventsResponse(counts["accepted"], counts["duplicate"], counts["rejected"], results, error, ignored)


def _ignored(batch: pa.RecordBatch, stored: Stored, learned: Collection[str]) -> dict[str, int]:
    if not batch.num_rows:
        return {}
    accepted = batch.column("action").filter(pa.array(stored.new_N & (kinds(batch) == INTERACTION)))
    return {action: count for action, count in Counter(accepted.to_pylist()).items() if action not in learned}


def _outcomes(batch: pa.RecordBatch, stored: Stored) -> Iterator[EventResult]:
    columns = kinds(batch).tolist(), batch.column("id").to_pylist(), stored.new_N.tolist(), stored.clash_N.tolist()
    for kind, name, new, clashes in zip(*columns, strict=True):
        yield _rejected(name, clash(kind, name)) if clashes else EventResult("accepted" if new else "duplicate", name)


def _rejected(name: str, reason: str) -> EventResult:
    detail = parse_reason(reason)
    return EventResult("rejected", name, detail.field, detail.message)


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
