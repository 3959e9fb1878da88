"""A producer whose thread is interrupted, as Ctrl+C does, one whose process forks, and one whose process ends."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from workqueue import Producer
from workqueue._io import Link
from workqueue.guarantee.waiting import PATIENCE

INTERRUPTED = Path(__file__).with_name("interrupted.py")


def run(*command):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ids(taken):
    return {each.properties.message_id for each in taken}


@pytest.mark.parametrize("how", ["send", "send-alarm", "send_async"])
def test_an_interrupt_leaves_a_producer_that_goes_on_and_confirms_nothing_false(how, url, new_queue, aside, producer):
    queue = new_queue("classic")
    producer.declare(queue)

    told = run(str(INTERRUPTED), url, queue.name, how, "150")

    assert told["failed"] == [], "only what is interrupted fails"
    assert told["open"] == 0, "every future ends"
    assert told["longest"] < 5, "what is sent after an interrupt is confirmed as ever"
    assert told["closing"] < 5
    assert len(told["sent"]) > 30
    there = ids(aside.take(queue, aside.ready(queue)))
    assert set(told["sent"]) <= there, "what was confirmed is there"


class InterruptError(RuntimeError):
    pass


def test_an_interrupt_while_it_waits_for_room_costs_nothing_else(url, wire, queue):
    def interrupt(*_):
        raise InterruptError

    def send_interrupted():
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGUSR1]).start()
        producer.send_async(queue, b"no room")

    with Producer(wire.through(url), window=2) as producer:
        producer.send(queue, b"confirmed")
        wire.freeze()
        futures = [producer.send_async(queue, b"task") for _ in range(2)]
        previous = signal.signal(signal.SIGUSR1, interrupt)
        try:
            with pytest.raises(InterruptError):
                send_interrupted()
        finally:
            signal.signal(signal.SIGUSR1, previous)

        wire.thaw()

        assert [future.exception(PATIENCE) for future in futures] == [None, None]


@pytest.mark.parametrize("does", ["close", "send", "send_async"])
def test_a_signal_handler_that_uses_the_producer_is_answered_in_the_middle_of_a_wait(
    does, url, wire, queue, aside, monkeypatch
):
    # Given a thread that waits for its confirmation,
    def handler(*_):
        wire.thaw()
        began = time.monotonic()
        if does == "close":
            producer.close()
        elif does == "send":
            producer.send(queue, b"by the handler")
        else:
            producer.send_async(queue, b"by the handler").result(PATIENCE)
        took.append(time.monotonic() - began)

    def write(link, frames, original=Link.write):
        original(link, frames)
        if not alarm.ident:
            alarm.start()  # not before: in the middle of the sending, it could meet a lock

    took = []
    previous = signal.signal(signal.SIGUSR1, handler)
    with Producer(wire.through(url)) as producer:
        for _ in range(3):
            producer.send(queue, b"before")
        wire.freeze()

        # When a signal comes, whose handler uses the same producer,
        alarm = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGUSR1])
        monkeypatch.setattr(Link, "write", write)
        try:
            producer.send(queue, b"interrupted")
            alarm.join()
        finally:
            signal.signal(signal.SIGUSR1, previous)

    # I expect both to be answered, and at once.
    [seconds] = took
    assert seconds < 4, "well before anything that is not answered is given up"
    bodies = [b"before"] * 3 + [b"interrupted"] + [b"by the handler"] * (does != "close")
    assert sorted(each.body for each in aside.take(queue, len(bodies))) == sorted(bodies)


@pytest.mark.parametrize("before", ["", "producer.send(queue, b'parent 1')"], ids=["not connected", "connected"])
def test_a_forked_process_sends_by_a_connection_of_its_own_and_under_other_ids(before, url, new_queue, aside, producer):
    queue = new_queue("classic")
    producer.declare(queue)
    script = f"""
        import json, os, sys, warnings
        from workqueue import Producer
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads
        url, queue = sys.argv[1:]
        producer = Producer(url, confirm_timeout=10)
        {before or "pass"}
        child = os.fork()
        who = "parent" if child else "child"
        for number in range(2, 12):
            producer.send(queue, f"{{who}} {{number}}".encode())
        producer.close()
        if child:
            print(json.dumps(os.waitpid(child, 0)[1]))
        else:
            os._exit(0)
    """

    assert run("-c", textwrap.dedent(script), url, queue.name) == 0

    taken = aside.take(queue, 21 if before else 20)
    assert len(ids(taken)) == len(taken)
    bodies = {each.body for each in taken}
    assert {b"%s %d" % (who, number) for who in (b"parent", b"child") for number in range(2, 12)} <= bodies


def test_threads_of_a_forked_process_share_its_connection_and_no_id_comes_again(url, new_queue, aside, producer):
    queue = new_queue("classic")
    producer.declare(queue)
    script = """
        import json, os, sys, threading, warnings
        from workqueue import Producer
        from workqueue.events import Connected
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads
        url, queue = sys.argv[1:]
        events = []
        producer = Producer(url, observer=events.append)
        producer.send(queue, b"parent")

        for _ in range(2):
            child = os.fork()
            if not child:
                threads = [threading.Thread(target=producer.send, args=(queue, b"child")) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                producer.close()
                os._exit(len([event for event in events if isinstance(event, Connected)]))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2  # the parent's, and its own
        producer.close()
        print(json.dumps("ended"))
    """

    assert run("-c", textwrap.dedent(script), url, queue.name) == "ended"

    taken = aside.take(queue, 9)
    assert len(ids(taken)) == 9


def test_a_producer_may_be_closed_when_the_interpreter_ends(url, new_queue, aside, producer):
    queue = new_queue("classic")
    producer.declare(queue)
    script = """
        import atexit, sys, time
        from workqueue import Producer
        url, queue = sys.argv[1:]
        producer = Producer(url)

        def close():
            began = time.monotonic()
            producer.close()
            print(time.monotonic() - began)

        atexit.register(close)  # before it has a connection: what is registered last, is called first
        futures = [producer.send_async(queue, b"task") for _ in range(500)]
    """

    assert run("-W", "error", "-c", textwrap.dedent(script), url, queue.name) < 10

    assert len(aside.take(queue, 500)) == 500
