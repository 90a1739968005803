"""``python -m pactmeter``."""

import sys
from pathlib import Path

if not __package__:  # `python path/to/pactmeter`: from a clone that is not installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pactmeter.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
