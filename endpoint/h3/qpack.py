"""QPACK (RFC 9204): field sections, encoder and decoder stream. The codec itself is ls-qpack's."""

from typing import TYPE_CHECKING

import pylsqpack

from endpoint.h3.errors import H3ConnectionError, H3ErrorCode, H3StreamError
from endpoint.h3.events import Headers
from endpoint.h3.headers import FIELD_OVERHEAD, field_section_size
from endpoint.h3.streams import StreamType

if TYPE_CHECKING:
    from endpoint.h3.settings import Settings
    from endpoint.h3.streams import LocalStreams

# The largest table that we fill for a peer: it may offer more than we want to keep for it. What we use is
# either what it offers or none, since the encoding depends on what was offered (RFC 9204 §4.5.1.1).
MAX_ENCODER_CAPACITY = 64 * 1024
# On how many streams the peer's decoder may have to wait for our encoder stream.
MAX_RISKED_STREAMS = 16
# No entry of the static table (RFC 9204 A) has more bytes.
LONGEST_STATIC = 128
NO_LIMIT = 1 << 62
# How many sections a connection remembers, how long they are, and what they say (as SETTINGS count it).
_REPEATED_SECTIONS = 64
_REPEATED_LENGTH = 256
_REPEATED_SIZE = 2048
# RFC 9204 §4.5.1: both integers of the prefix are 0, no field line follows. ls-qpack takes it for cut off.
_EMPTY_SECTION = b"\0\0"


class Qpack:
    """The two codecs of a connection."""

    __slots__ = (
        "_capacity",
        "_decoder",
        "_encoder",
        "_limit",
        "_most_lines",
        "_repeated",
        "_streams",
        "_widest",
    )

    def __init__(self, settings: "Settings", streams: "LocalStreams") -> None:
        """`settings` are ours: what the peer's encoder goes by. Instructions are written to `streams`."""
        self._streams = streams
        self._capacity = settings.qpack_max_table_capacity
        limit = settings.max_field_section_size
        self._limit = NO_LIMIT if limit is None else limit
        self._most_lines = self._limit // FIELD_OVERHEAD
        # What a field has at most that is in a table, and not literal in the section.
        self._widest = max(self._capacity, LONGEST_STATIC) + FIELD_OVERHEAD
        # Sections that came, and from the second time on what they say. Until the next instruction of the
        # peer's encoder: as long as the table is the same, the same bytes refer to the same entries.
        self._repeated: dict[bytes, Headers] = {}
        self._encoder = pylsqpack.Encoder()
        self._decoder = pylsqpack.Decoder(self._capacity, settings.qpack_blocked_streams)

    def apply_peer_settings(self, settings: "Settings") -> None:
        """The peer's SETTINGS have come: until then there is no dynamic table to encode with (§3.2.3).

        Not even in 0-RTT, where the one of the last connection could be used: the server may reject that.
        """
        capacity = settings.qpack_max_table_capacity
        if 0 < capacity <= MAX_ENCODER_CAPACITY:
            blocked = min(settings.qpack_blocked_streams, MAX_RISKED_STREAMS)
            self._streams.write(StreamType.QPACK_ENCODER, self._encoder.apply_settings(capacity, blocked))

    def encode(self, stream_id: int, headers: Headers) -> bytes:
        """A field section for a HEADERS frame. Raises ValueError for a name or value over 64 KiB."""
        fields = headers if isinstance(headers, list) else list(headers)
        instructions, section = self._encoder.encode(stream_id, fields)
        if instructions:
            self._streams.write(StreamType.QPACK_ENCODER, instructions)
        return section

    def decode(self, stream_id: int, section: bytes) -> Headers | None:
        """The fields of a section; None: it has to wait for the encoder stream (§2.1.2), see `resume`.

        Raises H3ConnectionError (QPACK_DECOMPRESSION_FAILED), H3StreamError (H3_EXCESSIVE_LOAD).
        """
        known = self._repeated.get(section)
        if known:
            if section[0]:
                # RFC 9204 §4.5.1.1: it refers to the dynamic table.
                self._streams.acknowledge(section_acknowledgment(stream_id))
            return list(known)  # whose it is may change it
        if section == _EMPTY_SECTION:
            return []
        if len(section) > self._most_lines:
            _check_lines(section, self._most_lines)
        try:
            instructions, headers = self._decoder.feed_header(stream_id, section)
        except pylsqpack.StreamBlocked:
            return None
        except pylsqpack.DecompressionFailed:
            raise _decompression_failed(stream_id) from None
        if instructions:
            self._streams.acknowledge(instructions)
        # A literal at most doubles when it is decoded: mostly that settles it.
        if len(headers) * self._widest + 2 * len(section) > self._limit:
            self._check_size(headers)
        if known is None:
            if len(section) <= _REPEATED_LENGTH:
                if len(self._repeated) >= _REPEATED_SECTIONS:
                    self._repeated.clear()
                self._repeated[section] = ()
        elif field_section_size(headers) <= _REPEATED_SIZE:
            self._repeated[section] = tuple(headers)
        return headers

    def resume(self, stream_id: int) -> Headers:
        """The fields of a section that had to wait; `on_encoder_stream` told the stream.

        Raises as `decode` does.
        """
        try:
            instructions, headers = self._decoder.resume_header(stream_id)
        except (pylsqpack.DecompressionFailed, pylsqpack.StreamBlocked):
            raise _decompression_failed(stream_id) from None
        if instructions:
            self._streams.acknowledge(instructions)
        self._check_size(headers)
        return headers

    def cancel(self, stream_id: int) -> None:
        """Reading of the stream was abandoned: the peer's encoder has to know (§2.2.2.2)."""
        if self._capacity:
            # After the acknowledgment of a section of the same stream, if there is one.
            self._streams.acknowledge(self._decoder.cancel_stream(stream_id))
            self._streams.flush_acknowledgments()

    def on_encoder_stream(self, data: bytes) -> list[int]:
        """Take instructions of the peer's encoder; returns the streams that need not wait any longer.

        Raises H3ConnectionError (QPACK_ENCODER_STREAM_ERROR).
        """
        self._repeated.clear()
        try:
            return self._decoder.feed_encoder(data)
        except pylsqpack.EncoderStreamError:
            raise H3ConnectionError(
                H3ErrorCode.QPACK_ENCODER_STREAM_ERROR, "an invalid instruction of the encoder"
            ) from None

    def on_decoder_stream(self, data: bytes) -> None:
        """Take instructions of the peer's decoder. Raises H3ConnectionError (QPACK_DECODER_STREAM_ERROR)."""
        try:
            self._encoder.feed_decoder(data)
        except pylsqpack.DecoderStreamError:
            raise H3ConnectionError(
                H3ErrorCode.QPACK_DECODER_STREAM_ERROR, "an invalid instruction of the decoder"
            ) from None

    def _check_size(self, headers: Headers) -> None:
        if field_section_size(headers) > self._limit:
            raise H3StreamError(H3ErrorCode.H3_EXCESSIVE_LOAD, "the field section is too large")


def section_acknowledgment(stream_id: int) -> bytes:
    """The decoder's instruction for a section of a stream (RFC 9204 §4.4.1)."""
    if stream_id < 0x7F:
        return bytes((0x80 | stream_id,))
    out = bytearray(b"\xff")
    rest = stream_id - 0x7F
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _check_lines(section: bytes, most: int) -> None:
    """Refuse what would decode to far more than it is: a line of one byte can stand for a whole entry."""
    if count_field_lines(section) > most:
        raise H3StreamError(H3ErrorCode.H3_EXCESSIVE_LOAD, "the field section has too many lines")


def count_field_lines(section: bytes) -> int:
    """Field lines of an encoded section (RFC 9204 §4.5), up to where it is cut off, if it is."""
    count = 0
    try:
        _, pos = _integer(section, 0, 8)
        _, pos = _integer(section, pos, 7)
        while pos < len(section):
            first = section[pos]
            if first & 0x80:  # indexed
                _, pos = _integer(section, pos, 6)
            elif first & 0x40:  # literal with a name of a table
                _, pos = _integer(section, pos, 4)
                pos = _string_end(section, pos, 7)
            elif first & 0x20:  # literal with a literal name
                pos = _string_end(section, pos, 3)
                pos = _string_end(section, pos, 7)
            elif first & 0x10:  # indexed, post-base
                _, pos = _integer(section, pos, 4)
            else:  # literal with a post-base name
                _, pos = _integer(section, pos, 3)
                pos = _string_end(section, pos, 7)
            count += 1
    except IndexError:
        return count
    return count


def _integer(data: bytes, pos: int, prefix: int) -> tuple[int, int]:
    """RFC 9204 §4.1.1: an integer that begins in the low `prefix` bits, and the position after it."""
    mask = (1 << prefix) - 1
    value = data[pos] & mask
    pos += 1
    if value < mask:
        return value, pos
    shift = 0
    while True:
        byte = data[pos]
        value += (byte & 0x7F) << shift
        shift += 7
        pos += 1
        if byte < 0x80:
            return value, pos


def _string_end(data: bytes, pos: int, prefix: int) -> int:
    length, pos = _integer(data, pos, prefix)
    return pos + length


def _decompression_failed(stream_id: int) -> H3ConnectionError:
    return H3ConnectionError(
        H3ErrorCode.QPACK_DECOMPRESSION_FAILED, f"the field section of stream {stream_id} is invalid"
    )
