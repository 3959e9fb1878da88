"""`debian:RELEASE`: the RabbitMQ of a Debian release, unpacked to a cache and run in a chroot.

Changes no system. As root it runs in a mount and pid namespace of its own, or in a plain chroot where
namespaces are not permitted (as in a container with default privileges); as an ordinary user in a user namespace.
"""

import contextlib
import difflib
import functools
import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

from workqueue.broker import _rootfs
from workqueue.broker._apt import RELEASES
from workqueue.broker.errors import SpecError, Unavailable
from workqueue.broker.handle import Source
from workqueue.broker.installation import Installation
from workqueue.broker.node import InstalledSource
from workqueue.broker.progress import Progress, silent

DEFAULT = "trixie"

_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_AS_ROOT_INSIDE = ("--user", "--map-root-user")
# A new /proc is not permitted where the outer one is partly hidden; then the outer one serves as well.
_MOUNT_AND_ENTER = """\
mount -t proc proc "$0/proc" 2>/dev/null || mount --rbind /proc "$0/proc" || exit
mount --rbind /dev "$0/dev" || exit
exec chroot "$0" "$@"
"""
_ENVIRONMENT = {
    "PATH": "/usr/lib/erlang/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TMPDIR": "/tmp",  # noqa: S108 - inside its own root
}


# Without a /proc, 3.8 would fail to start as it cannot read its own size there.
_SETTINGS_WITHOUT_PROC = {"vm_memory_calculation_strategy": "allocated"}
# Type and number of the devices that programs take for granted, for a root that no /dev can be mounted on.
_DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}


class DebianSource(InstalledSource):
    """RabbitMQ as packaged in a Debian release."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.spec = f"debian:{release}"

    def prepare(self, progress: Progress = silent) -> None:
        """Fetch and unpack the release unless it is in the cache, and see that it can be entered."""
        _way_in(_rootfs.ensure(self.release, progress).path)

    def installation(self) -> Installation:
        """Return where it is unpacked; that is done first if need be."""
        root = _rootfs.ensure(self.release, silent)
        way_in = _way_in(root.path)

        def enter(argv: Sequence[str]) -> Sequence[str]:
            return [*way_in, *argv]

        return Installation(
            spec=self.spec,
            provider="debian",
            server="/usr/lib/rabbitmq/bin/rabbitmq-server",
            ctl="/usr/lib/rabbitmq/bin/rabbitmqctl",
            environment=_ENVIRONMENT,
            settings=_SETTINGS_WITHOUT_PROC if way_in[0] == "chroot" else {},
            package=root.version,
            root=root.path,
            enter=enter,
        )


@functools.cache
def _way_in(root: Path) -> tuple[str, ...]:
    """Return the command that runs another in `root`: the first that is permitted. Raises `Unavailable`."""
    mount = ("/bin/sh", "-c", _MOUNT_AND_ENTER, str(root))
    if os.geteuid() == 0:
        ways = [(*_NAMESPACES, *mount), ("chroot", str(root))]
    else:
        ways = [(*_NAMESPACES, *_AS_ROOT_INSIDE, *mount)]
    said = []
    for way in ways:
        if shutil.which(way[0], path=_ENVIRONMENT["PATH"]) is None:
            said.append(f"{way[0]} is not installed")
            continue
        # In the node's environment: an ordinary user's PATH has no sbin, where chroot is.
        probe = subprocess.run([*way, "/bin/true"], env=_ENVIRONMENT, capture_output=True, text=True, check=False)
        if probe.returncode == 0:
            if way[0] == "chroot":
                _make_devices(root / "dev")
            return way
        said.append(probe.stderr.strip() or f"{way[0]} ended with status {probe.returncode}")
    if os.geteuid() == 0:
        advice = "Permit this machine or container chroot"
    else:
        advice = (
            "Permit user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces, "
            "kernel.apparmor_restrict_unprivileged_userns=0), or run as root"
        )
    raise Unavailable(
        f"A Debian release runs in a folder as its root, which is not permitted here: {'; '.join(said)}. "
        f"{advice}, or use another broker (`--broker container`, `--broker local`, an amqp:// URL)."
    )


def _make_devices(folder: Path) -> None:
    for name, (major, minor) in _DEVICES.items():
        path = folder / name
        if path.is_char_device():
            continue
        path.unlink(missing_ok=True)  # a file that was written to for want of the device
        with contextlib.suppress(PermissionError, FileExistsError):  # not permitted everywhere; or just made by another
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
            path.chmod(0o666)


def available() -> tuple[bool, str]:
    """Tell whether the default release can serve, and why or why not; nothing is fetched."""
    root = _rootfs.cached(DEFAULT)
    try:
        if root is not None:
            _way_in(root.path)
            return True, f"RabbitMQ {root.version} is in the cache"
        _rootfs.check_can_fetch()
    except Unavailable as error:
        return False, str(error)
    return True, "its RabbitMQ can be fetched with apt, and run without touching the system"


def source(spec: str, *, progress: Progress = silent, restart_command: Sequence[str] | None = None) -> Source:
    """Parse `debian:RELEASE`."""
    del progress, restart_command  # nothing takes long yet; and we restart by ourselves
    _, _, release = spec.partition(":")
    known = ", ".join(RELEASES)
    if not release:
        raise SpecError(f"Which release of Debian? Use debian:RELEASE with one of {known}.")
    if release not in RELEASES:
        similar = difflib.get_close_matches(release, RELEASES, n=1)
        hint = f" Did you mean debian:{similar[0]}?" if similar else ""
        raise Unavailable(f"There is no known RabbitMQ of a Debian release {release!r}: use one of {known}.{hint}")
    return DebianSource(release)
