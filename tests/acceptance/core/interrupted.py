"""Sends through a producer while a signal handler raises at any moment of it; run as a script.

It tells, as JSON, what became of what was sent, and how long it took to close.
"""

# ruff: noqa: T201  (its test reads what it prints)

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import wait

from workqueue import Producer, WorkqueueError


class InterruptError(RuntimeError):  # which the core raises, too
    pass


class AlarmError(TimeoutError):  # which is an OSError, as those of a socket are
    pass


def interrupt(_number, frame):
    at = {
        (stage.f_code.co_filename.rpartition("/")[2], stage.f_code.co_name) for stage, _ in traceback.walk_stack(frame)
    }
    connecting = ("_session.py", "__init__") in at
    if not connecting:
        attempts.clear()
    elif not attempts:  # one of a few, at some moment of it
        attempts.append(dice.random() < 0.2)
    # Only while the core is at work: this script is not the one under test.
    if ("producer.py", "_publish") in at and (not connecting or (attempts[0] and dice.random() < 0.1)):
        attempts.clear()
        interrupts.append(connecting)
        raise AlarmError if how == "send-alarm" else InterruptError


def pester():
    while len(interrupts) < count:
        time.sleep(dice.uniform(0.0, 0.02 if how == "send_async" else 0.002))  # there, each costs all that is under way
        os.kill(os.getpid(), signal.SIGUSR1)


url, queue, how, count = *sys.argv[1:4], int(sys.argv[4])
dice = random.Random(7)
interrupts, attempts = [], []
sent, futures, failed = [], {}, []
signal.signal(signal.SIGUSR1, interrupt)
producer = Producer(url, window=20000, confirm_timeout=10)
producer.send(queue, b"first", message_id="first")
sent.append("first")
pestering = threading.Thread(target=pester, daemon=True)
pestering.start()
number, longest = 0, 0.0
while pestering.is_alive():
    number += 1
    began = time.monotonic()
    try:
        if how != "send_async":
            producer.send(queue, b"task", message_id=str(number))
            sent.append(str(number))
        else:
            futures[str(number)] = producer.send_async(queue, b"task", message_id=str(number))
    except (InterruptError, AlarmError):
        pass
    except WorkqueueError as error:
        failed.append(repr(error))
    longest = max(longest, time.monotonic() - began)
done, open_ = wait(futures.values(), 20)
sent += [each for each, future in futures.items() if future in done and future.exception() is None]
producer.send(queue, b"last", message_id="last")
began = time.monotonic()
producer.close()
told = {
    "sent": [*sent, "last"],
    "open": len(open_),
    "closing": time.monotonic() - began,
    "longest": longest,
    "failed": failed,
}
print(json.dumps(told))
