"""Owns a broker, or a cluster one of whose nodes it has killed, until it is killed itself; run as a script.

It tells each folder that it makes, and when it has started.
"""

# ruff: noqa: T201  (its test reads what it prints)

import contextlib
import sys
import time

from workqueue.broker import resolve
from workqueue.broker.cluster import launch_cluster
from workqueue.warden import Warden

make = Warden.directory


def directory(*args, **options):
    path = make(*args, **options)
    print(path, flush=True)
    return path


Warden.directory = directory
spec, what = sys.argv[1:]
print("begun", flush=True)
with contextlib.ExitStack() as ends:
    if what == "cluster":
        ends.enter_context(launch_cluster(resolve(spec).installation(), 3)).nodes[0].kill()
    else:
        ends.enter_context(resolve(spec).start())
    print("started", flush=True)
    time.sleep(1000)
