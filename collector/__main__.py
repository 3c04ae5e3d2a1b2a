"""`python -m collector` and `collector`. Ctrl-C while it is still loading ends it as quietly as at any later time."""

import gc
import sys

from collector.commands.stderr import open_closed_streams, tell_of_crashes


def main() -> None:
    open_closed_streams()
    tell_of_crashes()
    # Pages are thousands of small objects that reference counting frees, and what is loaded stays: looking through them
    # for cycles is a waste, and a fifth of the time that a start takes.
    gc.set_threshold(50_000, 20, 50)
    try:
        from collector.commands.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)  # as at any later time
    run()


if __name__ == "__main__":
    main()
