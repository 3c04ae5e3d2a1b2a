"""`python -m collector`. Ctrl-C while it is still loading ends it as quietly as at any later time."""

import sys

try:
    from collector.cli import main
except KeyboardInterrupt:
    sys.exit(130)

main()
