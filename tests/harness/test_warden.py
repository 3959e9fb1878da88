"""Nothing that was started, made or named under a warden outlives its client, however the client ends."""

import contextlib
import http.server
import json
import os
import secrets
import signal
import socketserver
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import psutil
import pytest

from workqueue.warden import Warden, WardenError

GRACE = 10.0  # seconds in which everything must be gone; it takes some hundredths

SLEEP = "import sys, time; print('up', flush=True); time.sleep(1000)"


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + GRACE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def marked(token: str) -> list[psutil.Process]:
    """Return the living processes that have `token` on their command line or in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            known = token in process.cmdline() or token in process.environ().values()
            if known and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture
def token() -> str:
    return f"token-{secrets.token_hex(8)}"


@pytest.fixture
def warden() -> Iterator[Warden]:
    with Warden() as warden:
        yield warden


class Client:
    """A process of its own that uses a warden, to be killed."""

    def __init__(self, code: str, token: str, folder: Path) -> None:
        prelude = f"""
            import os, time
            from pathlib import Path
            from workqueue.warden import get_warden
            token, folder = {token!r}, Path({str(folder)!r})
            def say(word): print(word, flush=True)
        """
        self._process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code)],
            env={**os.environ, "WORKQUEUE_TEST": token},
            stdout=subprocess.PIPE,
        )

    def hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def kill(self) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def client(token: str, tmp_path: Path) -> Iterator[Callable[[str], Client]]:
    clients: list[Client] = []

    def start(code: str) -> Client:
        clients.append(Client(code, token, tmp_path))
        return clients[-1]

    yield start
    for one in clients:
        one.kill()


@pytest.mark.parametrize(
    "moment",
    [
        "get_warden(); say('now')",
        "get_warden().directory('d-', folder); say('now')",
        "get_warden().spawn(['sh', '-c', 'sleep 1000; true', token]); say('now')",
    ],
    ids=["started", "directory made", "child started"],
)
def test_nothing_is_left_when_the_client_is_killed(
    moment: str, token: str, tmp_path: Path, client: Callable[[str], Client]
) -> None:
    victim = client(moment + "\ntime.sleep(1000)")
    assert victim.hear() == "now"
    assert eventually(lambda: len(marked(token)) >= 2)  # the client and its warden

    victim.kill()

    assert eventually(lambda: not marked(token))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", [0.0, 0.01, 0.05, 0.1, 0.2])
def test_nothing_is_left_when_the_client_is_killed_while_it_starts_things(
    after: float, token: str, tmp_path: Path, client: Callable[[str], Client]
) -> None:
    victim = client(
        """
        say('now')
        for _ in range(30):
            get_warden().directory('d-', folder)
            get_warden().spawn(['sh', '-c', 'sleep 1000; true', token])
        """
    )
    assert victim.hear() == "now"
    time.sleep(after)  # the moment is the test's parameter

    victim.kill()

    # The warden itself has the token too, and is the last to go.
    assert eventually(lambda: not marked(token))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "child",
    [
        "trap '' TERM INT HUP; sleep 1000; true",
        "kill -STOP $$",
        "sh -c 'sleep 1000; true' {token} & exit",
        pytest.param(
            "setsid sh -c 'sleep 1000; true' {token} & exit",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's subreaper"),
        ),
    ],
    ids=["ignores signals", "stopped", "left a child", "left a session"],
)
def test_no_child_can_escape(child: str, token: str, client: Callable[[str], Client]) -> None:
    victim = client(
        f"""
        child = get_warden().spawn(['sh', '-c', {child.format(token=token)!r}, token])
        say('now')
        time.sleep(1000)
        """
    )
    assert victim.hear() == "now"

    victim.kill()

    assert eventually(lambda: not marked(token))


def test_a_forked_client_does_not_keep_the_warden_alive(token: str, client: Callable[[str], Client]) -> None:
    victim = client(
        """
        get_warden().spawn(['sh', '-c', 'sleep 1000; true', token])
        if os.fork() == 0:
            os.setsid()
            say(str(os.getpid()))
            time.sleep(1000)
        time.sleep(1000)
        """
    )
    forked = psutil.Process(int(victim.hear()))

    victim.kill()

    assert eventually(lambda: marked(token) == [forked])
    forked.kill()


def test_a_clean_end_leaves_nothing_either(token: str, tmp_path: Path) -> None:
    with Warden() as warden:
        warden.spawn(["sh", "-c", "sleep 1000; true", token])
        folder = warden.directory("d-", tmp_path)
        (folder / "read-only").mkdir()
        (folder / "read-only" / "file").touch()
        (folder / "read-only").chmod(0o500)

    assert marked(token) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's death signal")
def test_a_killed_warden_takes_its_children_with_it(token: str) -> None:
    warden = Warden()
    child = warden.spawn([sys.executable, "-c", SLEEP, token])

    psutil.Process(warden.pid).kill()

    assert eventually(lambda: not marked(token))
    with pytest.raises(WardenError, match="nobody knows how"):
        child.wait(1)
    with pytest.raises(WardenError, match="gone"):
        warden.spawn(["true"])
    warden.close()


def test_the_next_warden_clears_up_after_a_killed_one(token: str, tmp_path: Path) -> None:
    killed = Warden()
    killed.directory("d-", tmp_path)
    # In its own session it gets no death signal, so that only the ledger knows of it.
    killed.spawn(["sh", "-c", "sh -c 'sleep 1000; true' \"$0\" & wait", token])
    assert eventually(lambda: len(marked(token)) == 2)
    psutil.Process(killed.pid).kill()
    killed.close()

    with Warden():  # or one of another run, if that starts at the same time
        assert eventually(lambda: not list(tmp_path.iterdir()))


def test_a_child_tells_how_it_ended(warden: Warden) -> None:
    assert warden.spawn(["sh", "-c", "exit 7"]).wait(GRACE) == 7
    child = warden.spawn(["sleep", "1000"])
    assert child.poll() is None
    with pytest.raises(TimeoutError, match=r"still runs after 0\.01 s"):
        child.wait(0.01)
    child.send_signal(signal.SIGINT)
    assert child.wait(GRACE) == -signal.SIGINT
    assert repr(child) == f"<Child {child.pid} sleep ended with -2>"
    child.send_signal(signal.SIGKILL)  # whoever may have its number by now


def test_the_end_of_a_child_is_the_end_of_its_session(warden: Warden, token: str) -> None:
    child = warden.spawn(["sh", "-c", "sh -c 'sleep 1000; true' \"$0\" & wait", token])
    assert eventually(lambda: len(marked(token)) == 2)

    child.send_signal(signal.SIGKILL)
    child.wait(GRACE)

    assert marked(token) == []


def test_streams_environment_and_folder_are_the_childs(warden: Warden, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as out, (tmp_path / "in").open("w+b") as given:
        given.write(b"said")
        given.seek(0)
        child = warden.spawn(
            ["sh", "-c", 'cat; echo ",$WORD,$PWD"; echo error >&2'],
            env={"WORD": "word", "PATH": os.environ["PATH"]},
            cwd=tmp_path,
            stdin=given.fileno(),
            stdout=out.fileno(),
        )
        assert child.wait(GRACE) == 0
        out.seek(0)
        assert out.read().decode() == f"said,word,{tmp_path.resolve()}\n"


def test_signals_that_are_ignored_here_are_not_ignored_in_children(warden: Warden) -> None:
    child = warden.spawn(["sleep", "1000"])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(warden.pid, number)  # as a terminal or a service manager may, to all of us
    child.send_signal(signal.SIGTERM)
    assert child.wait(GRACE) == -signal.SIGTERM


def test_what_cannot_be_started_is_an_os_error(warden: Warden, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        warden.spawn(["no-such-program"])
    with pytest.raises(FileNotFoundError):
        warden.directory("d-", tmp_path / "missing")
    with pytest.raises(PermissionError, match="not a directory of this warden"):
        warden.remove(tmp_path)
    assert tmp_path.exists()


def test_threads_can_share_a_warden(warden: Warden) -> None:
    ended: list[int] = []

    def start(status: int) -> None:
        ended.extend(warden.spawn(["sh", "-c", f"exit {status}"]).wait(GRACE) - status for _ in range(5))

    threads = [threading.Thread(target=start, args=(status,)) for status in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [0] * 30


def test_containers_are_removed_by_their_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    containers = {"one": "run=1", "two": "run=2", "three": "run=1"}

    class Engine(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = unquote(self.path)
            self.answer([{"Id": name} for name, label in containers.items() if f'"{label}"' in query])

        def do_DELETE(self) -> None:
            del containers[self.path.split("/")[2].partition("?")[0]]
            self.answer(None)

        def answer(self, content: object) -> None:
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self) -> str:
            return "client"

        def log_message(self, *args: object) -> None:
            pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        Server(f"{folder}/engine", Engine) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/engine")
        with Warden() as warden:
            warden.own_containers("run=1")
        server.shutdown()
        thread.join()

    assert containers == {"two": "run=2"}
