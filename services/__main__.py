"""`python -m services`: the whole network as local processes."""

import gc
import sys

if __name__ == "__main__":
    try:
        from services.local import fork_server

        try:
            if not {"-h", "--help"} & set(sys.argv):
                fork_server.begin()
            gc.disable()  # what is imported is no garbage, and the collector would look at it again and again
            from services.local.__main__ import main

            gc.freeze()
            gc.enable()
            status = main()
        finally:
            fork_server.end()
    except KeyboardInterrupt:  # the imports take half a second, and Ctrl-C may come in it
        sys.exit(130)
    sys.exit(status)
