"""Commands as a user runs them: real processes, real signals, a real broker."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import uuid

import pika
import psutil
import pytest

from workqueue.broker._ports import free_port

PATIENCE = 20.0

# What whoever runs the tests has set for commands of their own is not for those under test.
_URLS = ("AMQP_URL", "RABBITMQ_URL", "CLOUDAMQP_URL")
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith("WORKQUEUE_") and name not in _URLS
}


class Program:
    """A process of the CLI whose output is read as it comes."""

    def __init__(self, *arguments, url, stdin=subprocess.DEVNULL, cwd=None, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workqueue", *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=ENVIRONMENT | {"WORKQUEUE_URL": url} | environment,
        )
        self.lines = []
        self.error_lines = []
        self.came = threading.Condition()
        self.readers = [
            threading.Thread(target=self._read, args=[self.process.stdout, self.lines], daemon=True),
            threading.Thread(target=self._read, args=[self.process.stderr, self.error_lines], daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, stream, lines):
        for line in stream:
            with self.came:
                lines.append(line.rstrip("\n"))
                self.came.notify_all()

    @property
    def errors(self):
        """What it wrote to standard error."""
        return "".join(f"{line}\n" for line in self.error_lines)

    def wait_until(self, condition, what):
        """Wait until what it has written so far meets a condition."""
        with self.came:
            assert self.came.wait_for(condition, PATIENCE), f"{what}: not in {self.lines}, {self.error_lines}"

    def expect(self, line, times=1):
        self.wait_until(lambda: self.lines.count(line) >= times, repr(line))

    def expect_error(self, text):
        self.wait_until(lambda: text in self.errors, repr(text))

    def exit_code(self):
        code = self.process.wait(PATIENCE)
        for reader in self.readers:
            reader.join(PATIENCE)
        return code

    def close(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
                each.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.exit_code()
        for stream, reader in zip([self.process.stdout, self.process.stderr], self.readers, strict=True):
            assert not reader.is_alive(), "somebody outlived the program, and has its output"  # close would hang
            stream.close()


@pytest.fixture
def url(workqueue_broker):
    return workqueue_broker.url


@pytest.fixture
def run(url):
    """Start `workqueue ARGUMENTS...`; it is gone at the end of the test."""
    with contextlib.ExitStack() as stack:

        def run(*arguments, url=url, **options):
            program = Program(*arguments, url=url, **options)
            stack.callback(program.close)
            return program

        yield run


@pytest.fixture
def channel(url):
    """A channel of a plain client, such as the tutorial's programs use."""
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        yield connection.channel()


@pytest.fixture
def queue(url):
    """The name of a queue that nobody else uses. Gone at the end."""
    name = f"acceptance-{uuid.uuid4().hex}"
    yield name
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        connection.channel().queue_delete(name)


@pytest.fixture
def get_when_ready(channel):
    """Returns the next message of a queue, once it has one."""

    def get(queue):
        return eventually(lambda: _got(channel.basic_get(queue, auto_ack=True)), f"a message in {queue}")

    return get


def _got(found):
    return None if found[0] is None else found


@pytest.fixture
def port():
    """A port that nobody listens at, or is about to, and the one after it."""
    while True:
        number = free_port()
        with socket.socket() as probe, socket.socket(type=socket.SOCK_DGRAM) as claim, contextlib.suppress(OSError):
            claim.bind(("127.0.0.1", number + 1))
            probe.bind(("127.0.0.1", number + 1))
            probe.close()
            yield number
            return


@pytest.fixture
def wait_for():
    """Calls a function until it returns something true, and returns that."""
    return eventually


def eventually(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.02)
    return found
