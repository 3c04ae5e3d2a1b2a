"""`python -m collector` and `collector`.

Ctrl-C while it is still loading ends it as quietly as at any later time; a SIGTERM then waits for `run` to listen.
"""

import gc
import sys

from collector.commands.early_signals import hold_signals
from collector.commands.standard_streams import install_excepthook, reopen_closed_streams
from collector.machine.terminal import erase_echo


def main() -> None:
    hold_signals()
    reopen_closed_streams()
    install_excepthook()
    # Pages are thousands of small objects that reference counting frees, and what is loaded stays: looking through them
    # for cycles is a waste, and a fifth of the time that a start takes.
    gc.set_threshold(50_000, 20, 50)
    try:
        from collector.commands.app import load
        from collector.commands.app import main as run

        app = load(sys.argv[1:])
    except KeyboardInterrupt:
        erase_echo()
        sys.exit(130)  # as at any later time
    except ModuleNotFoundError as error:
        if error.name not in ("fcntl", "grp", "pwd", "resource", "termios"):
            raise
        sys.exit(f"collector: its commands run on Linux alone: this system has no module {error.name}")
    run(app)


if __name__ == "__main__":
    main()
