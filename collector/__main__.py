"""`python -m collector` and `collector`. Ctrl-C while it is still loading ends it as quietly as at any later time."""

import sys


def main() -> None:
    try:
        from collector.cli import main as run
    except KeyboardInterrupt:
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
