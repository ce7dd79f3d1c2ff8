"""Imported first by the fork server: Ctrl-C goes to the parent, which ends everybody in order.

Without it a Ctrl-C during the server's imports prints a page of traceback.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
