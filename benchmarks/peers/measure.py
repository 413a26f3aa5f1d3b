"""Run a command and print, as the last line, what it cost: `python measure.py COMMAND...`. Needs Linux.

A process of its own and with nothing imported, since what `wait4` gives as a child's peak is at least the memory of
the process that started it.
"""

import json
import os
import sys
import time

began = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
cost = {"cpu": usage.ru_utime + usage.ru_stime, "wall": time.perf_counter() - began, "peak_mb": usage.ru_maxrss / 1024}
print(json.dumps({"code": os.waitstatus_to_exitcode(status), **cost}))
