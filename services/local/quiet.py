"""Imported first by the fork server: what must hold before its other imports.

Ctrl-C goes to the parent, which ends everybody in order; without this it prints a page of traceback during the imports.
What is imported is never garbage: the collector would look at it again and again (preload.py puts it back to work).
"""

import gc
import os
import signal

from services.local.fork_server import ENVIRONMENT

signal.signal(signal.SIGINT, signal.SIG_IGN)
gc.disable()
for name, value in ENVIRONMENT.items():
    os.putenv(name, value)
