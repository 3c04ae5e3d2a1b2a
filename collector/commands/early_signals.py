"""Stop signals that come while the command line is still being loaded, which is most of a start.

They are held until it is known which command it is: `run` takes them as if they had come when it began to listen, and
ends as it ends at any later time; the others end by them at once. SIGINT has Python's own handler all the while.
"""

import signal
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class HeldSignals:
    """A handler of signals that notes which came. It is imported first of all, and so a class without attrs."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.numbers.append(number)

    def deliver(self) -> None:
        """Sends them to this process once more, for the handlers of now."""
        numbers, self.numbers = self.numbers, []
        for number in numbers:
            signal.raise_signal(number)


def hold_signals() -> None:
    """Holds stop signals back from now on, but for those that are ignored."""
    held = HeldSignals()
    for number in _numbers():
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, held)


def held_signals() -> HeldSignals:
    """What is held at this moment."""
    handlers = map(signal.getsignal, _numbers())
    return next((each for each in handlers if isinstance(each, HeldSignals)), HeldSignals())


def release_signals() -> None:
    """Has them end the process again; those that came do so now."""
    held = held_signals()
    for number in _numbers():
        if signal.getsignal(number) is held:
            signal.signal(number, signal.SIG_DFL)
    held.deliver()


def _numbers() -> list[signal.Signals]:
    return [signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__]
