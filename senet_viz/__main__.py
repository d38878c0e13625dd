"""The command line: ``python -m senet_viz COMMAND``."""
import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
