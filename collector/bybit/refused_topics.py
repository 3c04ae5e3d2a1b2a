"""Topics the stream refuses to serve; REST brings their candles."""

from collections.abc import Iterable, Iterator

import attrs


@attrs.define(eq=False)
class RefusedTopics:
    """The topics refused at the moment, over all connections."""

    _topics: set[str] = attrs.field(factory=set)

    def add(self, topic: str) -> bool:
        """Adds a topic; True if it is new."""
        new = topic not in self._topics
        self._topics.add(topic)
        return new

    def discard(self, topics: Iterable[str]) -> None:
        """Forgets topics that are served, or about to be asked for again."""
        self._topics.difference_update(topics)

    def __contains__(self, topic: object) -> bool:
        return topic in self._topics

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._topics))

    def __len__(self) -> int:
        return len(self._topics)
