"""Bodies that clients have compressed."""

from __future__ import annotations

import zlib

from serving.api.messages.request_errors import BadRequestError, TooLargeError

_GZIP = 31
"""zlib's name for gzip with the largest window."""


class GzipBody:
    """The bytes of a body as its parts arrive (RFC 1952, several members too); at most `most`, so that no small body
    becomes one that fills the memory.

    >>> import gzip
    >>> body = GzipBody(most=3)
    >>> body.read(gzip.compress(b"abc")), body.end()
    (b'abc', None)
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._member = zlib.decompressobj(_GZIP)

    def read(self, part: bytes) -> bytes:
        """What the next part holds. Raises BadRequestError if it is no gzip, TooLargeError beyond the limit."""
        held = []
        while part:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            try:
                held.append(self._member.decompress(part, self._left + 1))
            except zlib.error as error:
                raise BadRequestError(f"the body is not gzip, as Content-Encoding says: {error}") from None
            self._left -= len(held[-1])
            if self._left < 0:
                raise TooLargeError(f"the body is larger than {self._most} bytes when it is unpacked; send it in parts")
            part = self._member.unused_data
        return b"".join(held)

    def end(self) -> None:
        """Raises BadRequestError if more must come."""
        if not self._member.eof:
            raise BadRequestError("the body is gzip that ends too early: send it whole")
