"""``python -m pactmeter``."""

import sys

from pactmeter.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
