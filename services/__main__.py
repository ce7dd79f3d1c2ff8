"""`python -m services`: the whole network as local processes."""

import sys

if __name__ == "__main__":
    try:
        from services.local import fork_server

        try:
            if not {"-h", "--help"} & set(sys.argv):
                fork_server.begin()
            from services.local.__main__ import main

            status = main()
        finally:
            fork_server.end()
    except KeyboardInterrupt:  # the imports take half a second, and Ctrl-C may come in it
        sys.exit(130)
    sys.exit(status)
