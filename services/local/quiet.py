"""Imported first by the fork server: what must hold before its other imports.

Ctrl-C goes to the parent, which ends everybody in order; without this it prints a page of traceback during the imports.
What is imported is never garbage: the collector would look at it again and again (preload.py puts it back to work).
A dozen processes share the cores: numpy's multiplications on a thread for each core wait for one another by spinning,
which costs a third of a run's CPU.
"""

import gc
import os
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
gc.disable()
os.putenv("OPENBLAS_NUM_THREADS", "1")
