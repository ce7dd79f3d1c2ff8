"""`python -m services`: the whole network as local processes."""

import sys

if __name__ == "__main__":
    try:
        from services.local.__main__ import main
    except KeyboardInterrupt:  # the imports take half a second, and Ctrl-C may come in it
        sys.exit(130)
    sys.exit(main())
