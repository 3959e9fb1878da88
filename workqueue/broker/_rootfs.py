"""The unpacked packages of a Debian release as a folder to chroot into, kept in the user's cache.

    <cache>/debian/trixie-amd64/4.0.5-1/     a root, complete since it was renamed into place
    <cache>/debian/trixie-amd64/.fetch/      what apt fetched so far
    <cache>/debian/trixie-amd64.lock         held while fetching and unpacking

No maintainer script is run: what a broker needs of their work is written here.
"""

import concurrent.futures
import os
import platform
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock
import platformdirs

from workqueue.broker._apt import Apt, AptError, Package, machine_keyring, update_from_any
from workqueue.broker.errors import Unavailable
from workqueue.broker.progress import Progress
from workqueue.warden import get_warden

# The broker names what it needs itself; these are the tools that its start scripts take for granted.
PACKAGES = (
    "rabbitmq-server",
    "dash",
    "coreutils",
    "sed",
    "grep",
    "mawk",
    "findutils",
    "hostname",
    "libc-bin",
    "procps",
    "util-linux",
    "debianutils",
)

_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    "rabbitmq:x:100:100:RabbitMQ:/var/lib/rabbitmq:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\nrabbitmq:x:100:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_LINKS = {"bin/sh": "dash", "usr/bin/awk": "mawk"}


@dataclass(frozen=True)
class Rootfs:
    """A root with rabbitmq-server in it."""

    release: str
    version: str
    """Version of the package rabbitmq-server, such as `4.0.5-12`."""
    path: Path


def cached(release: str) -> Rootfs | None:
    """Return the root of `release` that was unpacked last, if there is one."""
    folder = _folder(release)
    roots = [path for path in folder.glob("[0-9]*") if path.is_dir()] if folder.is_dir() else []
    if not roots:
        return None
    newest = max(roots, key=lambda path: path.stat().st_mtime)
    return Rootfs(release, newest.name, newest)


def check_can_fetch() -> None:
    """Raise `Unavailable` if it is clear without the network that no release can be fetched."""
    machine_keyring()
    with tempfile.TemporaryDirectory(prefix="wq-apt-") as home:
        if not Apt(Path(home)).mirrors():
            raise Unavailable("the apt sources of this machine name no mirror of Debian")


def ensure(release: str, progress: Progress) -> Rootfs:
    """Return the root of `release`, fetched and unpacked if it is not in the cache. Raises `Unavailable`."""
    root = cached(release)
    if root:
        return root
    folder = _folder(release)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"Debian {release} is kept in {folder}, which cannot be made ({error.strerror}). "
            "Set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    lock = filelock.FileLock(folder.with_suffix(".lock"))
    try:
        held = lock.acquire(blocking=False)
    except filelock.Timeout:
        progress(f"Debian {release}: waiting for another run that fetches it")
        held = lock.acquire()
    with held:
        root = cached(release)  # the other run may have finished it
        return root or _make(release, folder, progress)


def _make(release: str, folder: Path, progress: Progress) -> Rootfs:
    for leftover in folder.glob(".unpack-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    home = folder / ".fetch"
    apt = Apt(home)
    progress(f"Debian {release}: fetching the package lists", 0.0)

    def listing(fraction: float) -> None:
        progress(f"Debian {release}: fetching the package lists", fraction)

    def fetching(fraction: float) -> None:
        progress(f"Debian {release}: fetching {len(packages)} packages", fraction)

    update_from_any(apt, release, listing)
    try:
        packages = apt.find(PACKAGES)
        apt.fetch(PACKAGES, fetching)
    except AptError as error:
        raise Unavailable(f"The packages of Debian {release} cannot be fetched: {error}") from error
    version = next(package.version for package in packages if package.name == "rabbitmq-server")
    # The warden removes it should we be killed in the middle; renamed away, it has nothing to remove.
    parent = get_warden().directory(".unpack-", parent=folder)
    root = parent / secrets.token_hex(4)
    root.mkdir()
    _unpack(root, packages, lambda fraction: progress(f"Debian {release}: unpacking", fraction))
    _furnish(root)
    os.utime(root)
    final = folder / version.replace("/", "_")
    root.rename(final)
    get_warden().remove(parent)
    shutil.rmtree(home, ignore_errors=True)
    progress(f"Debian {release}: RabbitMQ {version} is ready", 1.0)
    return Rootfs(release, version, final)


def _unpack(root: Path, packages: Sequence[Package], report: Callable[[float], None]) -> None:
    # Merged /usr from the start: what a package still has in /lib goes where its successors look for it.
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")

    def unpack(package: Package) -> None:
        run = subprocess.run(
            ["dpkg-deb", "-x", package.file, root],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            raise Unavailable(f"{package.file.name} cannot be unpacked to {root}: {run.stderr.strip()}")

    # The biggest first, so that none of them is left for the end.
    ordered = sorted(packages, key=lambda package: package.file.stat().st_size, reverse=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(unpack, ordered), start=1):
            report(done / len(ordered))


def _furnish(root: Path) -> None:
    for folder in ("proc", "sys", "dev", "root", "tmp", "run", "var/lib/rabbitmq", "var/log/rabbitmq"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name, content in _FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(content)
    for name, target in _LINKS.items():
        if not (root / name).is_symlink() and not (root / name).exists():
            (root / name).symlink_to(target)
    # Documentation is a third of the files.
    for folder in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / folder, ignore_errors=True)


def _folder(release: str) -> Path:
    return platformdirs.user_cache_path("workqueue") / "debian" / f"{release}-{platform.machine()}"
