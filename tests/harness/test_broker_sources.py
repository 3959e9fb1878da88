"""What can be said of a broker spec before there is a broker: grammar, errors, the fetch and its cache."""

import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from workqueue.broker import _apt, _rootfs, auto, debian, errors, node, resolve
from workqueue.broker._apt import Apt, AptError, Package
from workqueue.guarantee.waiting import claim

DEADLINE = 20.0


def nothing(message: str, fraction: float | None = None) -> None:
    """Show no progress."""


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "'' is no broker spec: use auto, container"),
        ("rabbit", "'rabbit' is no broker spec"),
        ("http://localhost", "'http://localhost' is no broker spec"),
        ("amqp:/guest:secret@localhost", "unreadable URL"),
        ("ampq://guest:secret@localhost", r"'ampq:\.\.\.' is no broker spec"),
        ("amqp://", "<unreadable URL>: not a broker URL like amqp://"),
        ("amqp://guest:secret@localhost:99999", "not a broker URL like amqp://"),
        ("amqp://guest:sec/ret@localhost", "special characters percent-encoded"),
        ("debian:", "Which release of Debian"),
        ("local:", "Which directory"),
        ("container:", "names no image"),
        ("auto:x", "takes nothing after it"),
    ],
)
def test_a_malformed_spec_is_told_and_no_password_with_it(spec: str, message: str) -> None:
    with pytest.raises(errors.SpecError, match=message) as caught:
        resolve(spec)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("debian:jessie", "no known RabbitMQ of a Debian release 'jessie': use one of bullseye"),
        ("debian:trixy", r"Did you mean debian:trixie\?"),
        ("local:/nowhere", "no rabbitmq-server that can be run in /nowhere"),
    ],
)
def test_what_cannot_be_had_is_told_at_once(spec: str, message: str) -> None:
    with pytest.raises(errors.Unavailable, match=message):
        resolve(spec)


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("debian:bookworm", "debian:bookworm"),
        ("amqp://user:secret@example.org/vhost", "amqp://user:***@example.org/vhost"),
        ("amqps://example.org", "amqps://example.org"),
        ("container:rabbitmq:3.13", "container:rabbitmq:3.13"),
    ],
)
def test_a_source_tells_its_spec_without_a_password(spec: str, shown: str) -> None:
    source = resolve(spec)
    assert source.spec == shown
    assert "secret" not in repr(source)


class TestExternal:
    def test_nobody_listens(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"amqp://guest:secret@127.0.0.1:{unused.getsockname()[1]}"
            with pytest.raises(errors.Unavailable, match="cannot be reached: Connection refused") as caught:
                resolve(url).prepare()
        assert "secret" not in str(caught.value)

    def test_nobody_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workqueue.broker.external._ANSWER", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"amqp://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(errors.Unavailable, match="does not answer"):
                resolve(url).prepare()

    @pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x00\x01\x00\x00", b"\x00" * 64])
    def test_somebody_else_answers(self, greeting: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(greeting)
                    connection.recv(100)

            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            url = f"amqp://127.0.0.1:{server.getsockname()[1]}"
            with pytest.raises(errors.Unavailable):
                resolve(url).prepare()
            thread.join(10)
            assert not thread.is_alive()


class TestLocal:
    def test_a_server_that_exits_fails_with_the_end_of_its_log(self, tmp_path: Path) -> None:
        self.install(tmp_path, "seq 1000; echo 'no luck today'; exit 3")
        before = time.monotonic()
        with pytest.raises(errors.StartFailed, match=r"exited with status 3(?s:.)*no luck today") as caught:
            resolve(f"local:{tmp_path}").start()
        assert time.monotonic() - before < DEADLINE
        # Where there is no epmd, the shell says so at some moment.
        log = [line for line in caught.value.log.splitlines() if "epmd" not in line]
        assert log[-2:] == ["1000", "no luck today"]

    def test_a_server_that_does_not_come_up_fails_at_the_deadline(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(node, "_BOOT", 3.0)
        self.install(tmp_path, "echo thinking; sleep 1000; true")
        with pytest.raises(errors.StartFailed, match=r"not ready within 3 s(?s:.)*thinking"):
            resolve(f"local:{tmp_path}").start()

    def test_a_lost_race_for_a_port_is_run_again(self, tmp_path: Path) -> None:
        self.install(tmp_path, f"echo x >> {tmp_path}/starts; echo '{{error,eaddrinuse}}'; exit 1")
        with pytest.raises(errors.StartFailed, match="eaddrinuse"):
            resolve(f"local:{tmp_path}").start()
        assert (tmp_path / "starts").read_text().count("x") == node._ATTEMPTS

    def test_an_old_epmd_on_a_machine_without_ipv6_is_told_no_address(self, tmp_path: Path) -> None:
        complaint = "epmd: failed to bind on ipaddr 127.0.0.1: Cannot assign requested address"
        told = "at${ERL_EPMD_ADDRESS:+ $ERL_EPMD_ADDRESS}"
        self.install(tmp_path, f"echo {told} >> {tmp_path}/starts; echo '{complaint}'; exit 1")
        with pytest.raises(errors.StartFailed, match="failed to bind"):
            resolve(f"local:{tmp_path}").start()
        first, *others = (tmp_path / "starts").read_text().splitlines()
        assert first == "at 127.0.0.1"
        assert others == ["at"] * (node._ATTEMPTS - 1)

    def test_a_server_that_is_not_executable(self, tmp_path: Path) -> None:
        (tmp_path / "rabbitmq-server").touch(mode=0o600)
        with pytest.raises(errors.Unavailable, match="can be run"):
            resolve(f"local:{tmp_path}")

    def install(self, folder: Path, script: str) -> None:
        server = folder / "rabbitmq-server"
        server.write_text(f"#!/bin/sh\n{script}\n")
        server.chmod(0o755)


class TestAuto:
    def test_takes_the_first_that_serves_and_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.candidates(monkeypatch, container="no engine answers", local=None, debian=None)
        source = resolve("auto")
        assert source.spec == "local"
        assert source.why == "not container: no engine answers; local: it can"

    def test_without_the_packages_of_one_takes_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.candidates(monkeypatch, local="not installed", debian=None)
        source = resolve("auto")
        assert source.spec == "debian"
        assert source.why is not None
        assert "not container: it needs nowhere_to_be_found, which is not installed" in source.why

    def test_says_what_to_install_when_none_serves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.candidates(monkeypatch, container="no engine", local="not installed", debian="no apt")
        with pytest.raises(errors.Unavailable, match=r"(?s)no engine.*not installed.*no apt.*Install one of"):
            resolve("auto")

    def candidates(self, monkeypatch: pytest.MonkeyPatch, **reasons: str | None) -> None:
        names = []
        for name in ("container", "local", "debian"):
            if name not in reasons:
                names.append((name, "nowhere_to_be_found"))
                continue
            module = ModuleType(f"candidate_{name}")
            reason = reasons[name]
            monkeypatch.setattr(
                module, "available", lambda reason=reason: (reason is None, reason or "it can"), raising=False
            )
            monkeypatch.setattr(module, "source", lambda spec, **_: SimpleNamespace(spec=spec, why=None), raising=False)
            monkeypatch.setitem(sys.modules, module.__name__, module)
            names.append((name, module.__name__))
        monkeypatch.setattr(auto, "_CANDIDATES", names)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_rootfs.platformdirs, "user_cache_path", lambda _name: tmp_path)
    return tmp_path


@pytest.fixture
def fetches(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace apt and dpkg by fakes; the list has what was fetched."""
    fetched: list[str] = []

    class FakeApt:
        def __init__(self, home: Path) -> None:
            home.mkdir(parents=True, exist_ok=True)
            self.home = home

        def find(self, packages: object) -> list[Package]:
            return [Package("rabbitmq-server", "1.2.3-4", self.home / "x.deb")]

        def fetch(self, packages: object, report: Callable[[float], None]) -> None:
            report(0.5)
            fetched.append("fetched")

    def unpack(root: Path, *_: object) -> None:
        (root / "usr" / "bin").mkdir(parents=True)
        (root / "bin").symlink_to("usr/bin")

    monkeypatch.setattr(_rootfs, "Apt", FakeApt)
    monkeypatch.setattr(_rootfs, "update_from_any", lambda *_: None)
    monkeypatch.setattr(_rootfs, "_unpack", unpack)
    return fetched


class TestCache:
    def test_two_runs_at_once_fetch_once(self, fetches: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        roots: list[_rootfs.Rootfs] = []
        told: list[str] = []
        waiting = "Debian trixie: waiting for another run that fetches it"
        fetch = _rootfs.Apt.fetch

        def fetch_when_the_others_wait(*arguments: Any) -> None:
            claim("the others wait", lambda: told.count(waiting) == 2)
            fetch(*arguments)

        monkeypatch.setattr(_rootfs.Apt, "fetch", fetch_when_the_others_wait)

        def ensure() -> None:
            roots.append(_rootfs.ensure("trixie", lambda message, fraction=None: told.append(message)))

        threads = [threading.Thread(target=ensure) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)

        assert fetches == ["fetched"]
        assert len(roots) == 3
        assert len({root.path for root in roots}) == 1
        assert told.count(waiting) == 2

    def test_what_is_cached_is_used_without_asking_the_mirror(
        self, cache: Path, fetches: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = _rootfs.ensure("trixie", nothing)
        monkeypatch.setattr(_rootfs, "_make", None)
        assert _rootfs.ensure("trixie", nothing) == first
        assert first.version == "1.2.3-4"
        assert (first.path / "etc" / "hosts").exists()

    def test_a_failed_unpack_leaves_nothing_to_trip_over(
        self, cache: Path, fetches: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(root: Path, *_: object) -> None:
            (root / "half").touch()
            raise errors.Unavailable("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(_rootfs, "_unpack", fail)
            with pytest.raises(errors.Unavailable, match="the disk is full"):
                _rootfs.ensure("trixie", nothing)
        assert _rootfs.cached("trixie") is None
        root = _rootfs.ensure("trixie", nothing)
        assert not (root.path / "half").exists()
        assert not list(root.path.parent.glob(".unpack-*"))

    def test_a_run_killed_while_it_unpacks_leaves_nothing_to_trip_over(
        self, cache: Path, fetches: list[str], started
    ) -> None:
        code = f"""
            import time
            from pathlib import Path
            from types import SimpleNamespace
            from workqueue.broker import _rootfs
            _rootfs.platformdirs.user_cache_path = lambda _: Path({str(cache)!r})
            _rootfs.Apt = lambda home: SimpleNamespace(
                find=lambda _: [_rootfs.Package("rabbitmq-server", "1.2.3-4", home / "x.deb")],
                fetch=lambda *_: None,
            )
            _rootfs.update_from_any = lambda *_: None
            def unpack(root, *_):
                (root / "half").touch()
                print("unpacking", flush=True)
                time.sleep(1000)
            _rootfs._unpack = unpack
            _rootfs.ensure("trixie", lambda message, fraction=None: None)
        """
        run = started([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
        assert run.stdout.readline() == "unpacking\n"
        [folder] = [path for path in (cache / "debian").iterdir() if path.is_dir()]
        assert list(folder.glob(".unpack-*/*/half"))
        run.kill()
        run.wait(10)

        assert _rootfs.ensure("trixie", nothing).path.is_dir()
        assert not list(folder.glob(".unpack-*"))
        assert not list(folder.glob("*/half"))

    def test_a_cache_that_cannot_be_written(self, cache: Path) -> None:
        (cache / "debian").touch()
        with pytest.raises(errors.Unavailable, match="Set XDG_CACHE_HOME"):
            _rootfs.ensure("trixie", nothing)


class TestApt:
    @pytest.fixture
    def sources(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Apt]:
        def write(name: str, content: str) -> Apt:
            (tmp_path / name).write_text(textwrap.dedent(content))
            (tmp_path / "parts").mkdir(exist_ok=True)
            place = "SourceParts" if name.endswith(".sources") else "SourceList"
            (tmp_path / name).rename(tmp_path / ("parts/" + name if place == "SourceParts" else name))
            (tmp_path / "apt.conf").write_text(
                f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "{tmp_path}/parts";\n'
            )
            monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
            return Apt(tmp_path / "home")

        try:
            Apt(tmp_path / "probe")
        except errors.Unavailable as reason:
            pytest.skip(str(reason))
        return write

    def test_mirrors_in_one_line_style(self, sources: Callable[[str, str], Apt]) -> None:
        apt = sources(
            "sources.list",
            """\
            # deb http://commented.example/debian bookworm main
            deb [arch=amd64] https://packages.example/apt bookworm stable
            deb http://one.example/debian/ bookworm main
            deb http://one.example/debian/ bookworm-updates main
            deb http://security.example/debian-security bookworm-security main
            """,
        )
        assert apt.mirrors() == ["http://one.example/debian", "https://packages.example/apt"]

    def test_mirrors_in_deb822_style(self, sources: Callable[[str, str], Apt]) -> None:
        apt = sources(
            "debian.sources",
            """\
            Types: deb
            URIs: http://two.example/debian
            Suites: stable stable-updates
            Components: main

            Types: deb
            URIs: http://other.example
            Suites: nodistro
            Components: main
            """,
        )
        assert apt.mirrors() == ["http://two.example/debian"]

    def test_no_mirror(self, sources: Callable[[str, str], Apt]) -> None:
        apt = sources("sources.list", "")
        with pytest.raises(errors.Unavailable, match="name no mirror of Debian"):
            _apt.update_from_any(apt, "trixie", lambda _: None)

    def test_a_mirror_that_does_not_answer(self, sources: Callable[[str, str], Apt]) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            mirror = f"http://127.0.0.1:{unused.getsockname()[1]}/debian"
            apt = sources("sources.list", f"deb {mirror} trixie main\n")
            with pytest.raises(errors.Unavailable, match=rf"(?s){mirror}: .*Is the network up"):
                _apt.update_from_any(apt, "trixie", lambda _: None)

    def test_a_machine_without_apt(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(errors.Unavailable, match="fetched with apt-get"):
            Apt(tmp_path)

    def test_a_machine_without_debians_keys(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_apt, "_KEYRINGS", [tmp_path / "none"])
        monkeypatch.setattr(_apt, "_TRUSTED", tmp_path)
        with pytest.raises(errors.Unavailable, match="install the package debian-archive-keyring"):
            _apt.machine_keyring()

    def test_a_release_signed_by_keys_to_come_is_verified_by_way_of_older_ones(self, tmp_path: Path) -> None:
        """The machine knows bullseye's keys; bookworm is signed by those, trixie and forky by newer ones."""
        old, new = tmp_path / "old", tmp_path / "new"
        updates: list[tuple[str, Path | None]] = []

        class FakeApt:
            def update(self, mirror: str, release: str, keyring: Path | None, report: object) -> None:
                updates.append((release, keyring))
                if keyring == old and release in ("trixie", "forky"):
                    raise AptError("W: GPG error: NO_PUBKEY 6ED0E7B82643E131")

            def keyring(self, report: object) -> Path:
                return new

        _apt._update(FakeApt(), "mirror", "forky", old, lambda _: None)  # type: ignore[arg-type]

        assert updates == [("forky", old), ("trixie", old), ("bookworm", old), ("trixie", new), ("forky", new)]

    def test_an_unsigned_release_is_not_taken(self) -> None:
        class FakeApt:
            def update(self, *_: object) -> None:
                raise AptError("E: The repository 'http://mirror trixie InRelease' is not signed.")

        with pytest.raises(AptError, match="not signed"):
            _apt._update(FakeApt(), "mirror", "trixie", Path("keyring"), lambda _: None)  # type: ignore[arg-type]


def test_a_machine_that_permits_no_namespaces_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_NAMESPACES", ("sh", "-c", "echo 'unshare failed: not permitted' >&2; exit 1"))
    monkeypatch.setattr(debian.os, "geteuid", lambda: 1000)
    with pytest.raises(errors.Unavailable, match=r"(?s)unshare failed: not permitted.*Permit user namespaces"):
        debian._way_in(tmp_path)
