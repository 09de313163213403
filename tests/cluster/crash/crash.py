"""Ends badly, a second after it began: by a signal, which is tried again, or by an exception, which is not."""

import os
import signal
import sys
import time

time.sleep(1)
if sys.argv[1] == "raise":
    raise ValueError("the user's own mistake")
os.kill(os.getpid(), signal.SIGSEGV)
