"""Imported first by the fork server: its imports are left in peace by Ctrl-C and by the garbage collector.

Ctrl-C goes to the parent, which ends everybody in order; without this it prints a page of traceback during the imports.
What is imported is never garbage: the collector would look at it again and again (preload.py puts it back to work).
"""

import gc
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
gc.disable()
