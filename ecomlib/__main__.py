"""`python -m ecomlib` is the command `ecomlib`."""

import sys

from ecomlib.cli import main

if __name__ == "__main__":
    sys.exit(main())
