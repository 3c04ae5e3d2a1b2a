"""What a process has of the machine, which must not grow: tasks, descriptors, and objects by their class."""

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import trio

from collector.core.corrections import MOST

_MORE = 150  # objects of a class: what is known of files grows by a span now and then, and their rows by 160 an hour
# Of the spans of candles, `rows` remembers 1024, and fills that within hours; twelve series keep what was revised and
# what was repaired.
_CORRECTED = 12 * 2 * MOST
_REMEMBERED = {"collector.core.spans.Span": 1200 + _CORRECTED, "collector.core.spans.Spans": 1200}
_TASKS, _DESCRIPTORS = 24, 6 + 8  # some requests may be under way, each with tasks at both ends; files are kept open


@attrs.frozen
class Resources:
    """Counts of one moment."""

    tasks: int
    descriptors: int
    objects: Counter[str]

    @classmethod
    def now(cls) -> "Resources":
        gc.collect()
        kinds = (type(each) for each in gc.get_objects())
        ours = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if _is_ours(kind))
        return cls(trio.lowlevel.current_statistics().tasks_living, len([*Path("/proc/self/fd").iterdir()]), ours)

    def grown(self, before: "Resources") -> Iterator[str]:
        """What has become more since."""
        if self.tasks > before.tasks + _TASKS:
            yield f"{before.tasks} tasks became {self.tasks}"
        if self.descriptors > before.descriptors + _DESCRIPTORS:
            yield f"{before.descriptors} descriptors became {self.descriptors}"
        for kind, count in self.objects.items():
            if count > 1.5 * before.objects[kind] + _REMEMBERED.get(kind, _MORE):
                yield f"{before.objects[kind]} objects became {count}: {kind}"


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("collector.") and not kind.__module__.startswith("collector.sandbox")
