"""`python -m parity`: see run.py."""

import sys

from parity.run import main

# Worker processes import this file too; only the first one is a command.
if __name__ == "__main__":
    sys.exit(main())
