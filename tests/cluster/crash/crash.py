"""Ends badly, a second after it began: by a signal, which is tried again, or by an exception, which is not; or waits to be ended."""

import os
import signal
import sys
import time

if sys.argv[1] == "wait":
    time.sleep(3600)
time.sleep(1)
if sys.argv[1] == "raise":
    raise ValueError("the user's own mistake")
os.kill(os.getpid(), signal.SIGSEGV)
