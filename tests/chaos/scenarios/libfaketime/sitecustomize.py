"""Python imports this first, where PYTHONPATH names its folder.

libfaketime 0.9.10 breaks the system call of time.sleep, if it leaves CLOCK_MONOTONIC as it is.
"""

import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds)
