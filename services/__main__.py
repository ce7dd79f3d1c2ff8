"""`python -m services`: the whole network as local processes."""

import sys

from services.local.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
