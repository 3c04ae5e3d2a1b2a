"""What of a file a power loss may take: the rows that were appended since it was synced."""

import attrs

from collector.core.spans import NOTHING, Spans

_MOST = 64 * 1024  # bytes: more are synced in their own file, not written twice


@attrs.frozen
class Vouched:
    """What the synced bytes of a file hold, and when the file had changed last before more were appended."""

    held: Spans = NOTHING
    changed_ns: int = 0


NOBODY = Vouched()


@attrs.define
class Unsynced:
    """The last bytes of a file, of which neither the file nor the journal is certain.

    `is_known` is whether they are all here; else the file itself has to be synced.
    """

    text: bytes = b""
    is_known: bool = True

    def add(self, text: bytes) -> None:
        """Adds what was appended."""
        if self.is_known and len(self.text) + len(text) <= _MOST:
            self.text += text
        else:
            self.text, self.is_known = b"", False

    def clear(self) -> None:
        """The journal has them."""
        self.text = b""
