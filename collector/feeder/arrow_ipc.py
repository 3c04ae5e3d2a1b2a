"""Finds the numbers in an Arrow stream, to be used in place.

A look-up needs one row. So the few bytes that describe a stream are read here: they are flatbuffers
(https://flatbuffers.dev/internals), laid out as Arrow's messages
(https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format). Only what is plain is understood, columns of
eight bytes a value, uncompressed and without gaps; anything else is refused, never guessed at.

The alternatives: polars and nanoarrow copy what they read, a value of numpy or pyarrow costs several times one of a
memoryview, and pyarrow's buffers, which are as quick as these, are a heavy dependency and a slow import.
"""

import struct
from collections.abc import Iterator

import attrs

END = b"\xff\xff\xff\xff\0\0\0\0"
_WIDTH = 8
_START = struct.Struct("<Ii")  # a mark, and the length of the description that follows; then comes the data
_INT64 = struct.Struct("<q")
_PAIR = struct.Struct("<qq")
_SCHEMA, _BATCH = 1, 3  # kinds of messages


class NotArrow(ValueError):
    """The bytes are not an Arrow stream of the one kind that is written here."""


@attrs.frozen
class Batch:
    """Some rows: where their message is, how many they are, and where the data of each column begins."""

    message: slice
    rows: int
    places: tuple[int, ...]


@attrs.frozen
class Layout:
    """The message that names the columns, their names, the batches of rows, and where the stream ends."""

    schema: slice
    names: tuple[str, ...]
    batches: tuple[Batch, ...]
    end: int


def layout(buffer: bytes) -> Layout:
    """Looks at a stream; what comes after its end is somebody else's.

    Raises:
        NotArrow: it is cut short, damaged, or of another kind.
    """
    try:
        schema, *batches = _messages(buffer)
        names = tuple(field.text(0) for field in schema.header(_SCHEMA).tables(1))
        found = tuple(_batch(message, len(names)) for message in batches)
    except NotArrow:
        raise
    except (struct.error, ValueError) as error:
        raise NotArrow(f"damaged: {error}") from error
    end = (batches[-1] if batches else schema).place.stop + len(END)
    return Layout(schema.place, names, found, end)


def head(stream: bytes, rows: int) -> bytes:
    """What comes before the values in a stream like this one of one batch, but of so many rows.

    The values follow column by column, each eight bytes, and then the end.
    """
    _, message = _messages(stream)
    batch, size = message.header(_BATCH), rows * _WIDTH
    described = bytearray(stream[: message.data])
    (columns, nodes), (_, buffers) = batch.vector(1), batch.vector(2)
    _INT64.pack_into(described, message.table.place(3), columns * size)
    _INT64.pack_into(described, batch.place(0), rows)
    for column in range(columns):
        _PAIR.pack_into(described, nodes + column * _PAIR.size, rows, 0)
        for half, length in enumerate((0, size)):  # the places of its gaps, of which it has none, and of its values
            _PAIR.pack_into(described, buffers + (2 * column + half) * _PAIR.size, column * size, length)
    return bytes(described)


@attrs.frozen
class _Table:
    """A flatbuffer table: fields by number, each optional."""

    buffer: bytes
    at: int

    @classmethod
    def root(cls, buffer: bytes, at: int) -> "_Table":
        return cls(buffer, _followed(buffer, at))

    def place(self, field: int) -> int:
        """Where a field is; 0 when it is absent."""
        fields = self.at - _int32(self.buffer, self.at)
        (size,) = struct.unpack_from("<H", self.buffer, _inside(fields))
        if 4 + 2 * field >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self.buffer, fields + 4 + 2 * field)
        return self.at + int(offset) if offset else 0

    def int64(self, field: int) -> int:
        place = self.place(field)
        return int(struct.unpack_from("<q", self.buffer, place)[0]) if place else 0

    def byte(self, field: int) -> int:
        place = self.place(field)
        return int(struct.unpack_from("<B", self.buffer, place)[0]) if place else 0

    def table(self, field: int) -> "_Table":
        return _Table(self.buffer, _followed(self.buffer, self._there(field)))

    def vector(self, field: int) -> tuple[int, int]:
        """How many items there are, and where the first is."""
        at = _followed(self.buffer, self._there(field))
        return _int32(self.buffer, at), at + 4

    def tables(self, field: int) -> list["_Table"]:
        count, at = self.vector(field)
        return [_Table.root(self.buffer, at + 4 * item) for item in range(count)]

    def text(self, field: int) -> str:
        count, at = self.vector(field)
        return self.buffer[at : at + count].decode()

    def _there(self, field: int) -> int:
        place = self.place(field)
        if not place:
            raise NotArrow("a part is absent")
        return place


@attrs.frozen
class _Message:
    """What a message says, where all of it is, and where its data begins."""

    table: _Table
    place: slice
    data: int

    def header(self, kind: int) -> _Table:
        if self.table.byte(1) != kind:
            raise NotArrow("another kind of message")
        return self.table.table(2)


def _messages(buffer: bytes) -> Iterator[_Message]:
    at = 0
    while True:
        continuation, described = _START.unpack_from(buffer, at)
        if continuation != 0xFFFFFFFF or described < 0:
            raise NotArrow("no message")
        if not described:
            return
        table = _Table.root(buffer, at + _START.size)
        data = at + _START.size + described
        end = data + table.int64(3)
        if not data <= end <= len(buffer):
            raise NotArrow("a message is not whole")
        yield _Message(table, slice(at, end), data)
        at = end


def _batch(message: _Message, columns: int) -> Batch:
    batch, size = message.header(_BATCH), message.place.stop - message.data
    count, buffers = batch.vector(2)
    rows = batch.int64(0)
    if batch.place(3) or count != 2 * columns or rows <= 0 or (batch.place(4) and batch.vector(4)[0]):
        raise NotArrow("compressed, or not of plain numbers")
    places = []
    for at in range(buffers, buffers + count * _PAIR.size, 2 * _PAIR.size):
        (_, gaps) = _PAIR.unpack_from(batch.buffer, at)
        (offset, length) = _PAIR.unpack_from(batch.buffer, at + _PAIR.size)
        if gaps or length < rows * _WIDTH or not 0 <= offset <= size - length:
            raise NotArrow("a column with gaps, or not whole")
        places.append(message.data + offset)
    return Batch(message.place, rows, tuple(places))


def _followed(buffer: bytes, at: int) -> int:
    return at + _int32(buffer, at)


def _int32(buffer: bytes, at: int) -> int:
    return int(struct.unpack_from("<i", buffer, _inside(at))[0])


def _inside(at: int) -> int:
    if at < 0:
        raise NotArrow("damaged: a part lies before the beginning")
    return at
