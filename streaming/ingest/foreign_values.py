"""Events of other producers in a log: values in JSON, each with the clock of its record."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from streaming.ingest.codec import encode_events
from streaming.ingest.decoding import decode_all, decode_events
from streaming.ingest.validation import Rules


def decode_values(
    values: Sequence[bytes], clocks: Sequence[int], rules: Rules | None = None
) -> tuple[pa.RecordBatch, list[tuple[int, str]]]:
    """Events (`EVENT_SCHEMA`) in order, and the refused values: number and reason.

    A value is one event. `clocks` (ms since the epoch) say when each was written, which `rules.max_future` counts from:
    reading a value again later gives the same.

    >>> batch, refused = decode_values([b'{"type":"user","time":5,"user":"u","features":{}}', b"", b"x"], [9, 9, 9])
    >>> batch.num_rows, refused
    (1, [(1, 'no value'), (2, 'JSON is malformed: invalid character (byte 0)')])
    """
    oldest = min(clocks, default=0)
    if (every := decode_all(values, oldest, rules)) is not None:  # as a rule
        return encode_events(every), []
    events, rejects = decode_events(values, oldest, rules)
    refused = {reject.line: reject.reason for reject in rejects}
    refused |= {number: "no value" for number, value in enumerate(values) if not value.strip()}
    kept = (number for number in range(len(values)) if number not in refused)
    by_number = dict(zip(kept, events, strict=True))
    for number in sorted(refused):  # once more by their own clocks, which are later
        accepted, again = decode_events([values[number]], clocks[number], rules)
        if accepted:
            by_number[number] = accepted[0]
            del refused[number]
        elif again:
            refused[number] = again[0].reason
    return encode_events([by_number[number] for number in sorted(by_number)]), sorted(refused.items())
