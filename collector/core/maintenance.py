"""An announced maintenance of the exchange. Pure."""

import attrs


@attrs.frozen
class Maintenance:
    """An announced maintenance, by the exchange's time; `title` is its own text."""

    title: str
    begin_ms: int
    end_ms: int
