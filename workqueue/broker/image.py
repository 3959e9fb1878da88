"""Making a container image from a Debian release's RabbitMQ, for machines that cannot pull one.

The release's packages are unpacked, not installed. What the official image has beyond them, and what
testcontainers and `container:IMAGE` rely on, is added here: folders that the node's user can write, guests
from outside, the log on the container's output, and `RABBITMQ_DEFAULT_USER`, `_PASS` and `_VHOST` for every
version.
"""

import contextlib
import dataclasses
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import docker.errors
from docker.models.images import Image
from docker.utils import parse_repository_tag
from testcontainers.core.docker_client import DockerClient

from workqueue.broker import _engine, _rootfs, debian
from workqueue.broker.errors import Unavailable
from workqueue.broker.progress import Progress, silent

_LABEL = "workqueue.image"
_USER = "rabbitmq"
_HOME = "var/lib/rabbitmq"
_EMPTY = ("dev", "proc", "run", "sys", "tmp")  # the machine's, or the nodes' that run in there right now
_WRITTEN = (_HOME, "var/log/rabbitmq", "etc/rabbitmq")
_CHUNK = 1 << 20

_DEFAULTS = """\
# As in the official image: guest may log in from outside the container, and the log goes to its output.
loopback_users.guest = false
log.console = true
"""
_ENTRYPOINT = """\
#!/bin/sh
# Gives the node the default user that the environment asks for; older versions do not look there themselves.
set -e
conf=/etc/rabbitmq/conf.d/20-environment.conf
: > "$conf"
[ -z "$RABBITMQ_DEFAULT_USER" ] || printf 'default_user = %s\\n' "$RABBITMQ_DEFAULT_USER" >> "$conf"
[ -z "$RABBITMQ_DEFAULT_PASS" ] || printf 'default_pass = %s\\n' "$RABBITMQ_DEFAULT_PASS" >> "$conf"
[ -z "$RABBITMQ_DEFAULT_VHOST" ] || printf 'default_vhost = %s\\n' "$RABBITMQ_DEFAULT_VHOST" >> "$conf"
exec "$@"
"""


@dataclasses.dataclass(frozen=True)
class _Entry:
    path: str
    mode: int
    content: bytes | None = None  # None makes a directory


_ADDED = (
    _Entry("etc/rabbitmq", 0o755),
    _Entry("etc/rabbitmq/conf.d", 0o755),
    _Entry("etc/rabbitmq/conf.d/10-defaults.conf", 0o644, _DEFAULTS.encode()),
    _Entry("usr/local/bin/docker-entrypoint.sh", 0o755, _ENTRYPOINT.encode()),
    _Entry(_HOME, 0o750),
    _Entry("var/log/rabbitmq", 0o750),
    *(_Entry(name, 0o1777 if name == "tmp" else 0o755) for name in _EMPTY),
)


def make_image(release: str, *, tag: str | None = None, progress: Progress = silent) -> str:
    """Make a container image of `release`'s RabbitMQ, fetching it if need be, and return its name.

    The name is `tag`, or `workqueue-rabbitmq:RELEASE-VERSION`. Raises `SpecError` for a
    malformed tag, and `Unavailable` when no engine answers, it refuses, or the release cannot be had.
    """
    debian.source(f"debian:{release}", progress=progress, restart_command=None)  # refuses what it does not know
    client = _engine.connect()  # before anything is fetched for nothing
    with contextlib.closing(client.client):
        if tag is not None:
            _engine.find_image(client, tag)  # refuses what is no name, before anything is fetched
        root = _rootfs.ensure(release, progress)
        version = root.version.partition(":")[2] or root.version
        name = tag or f"workqueue-rabbitmq:{release}-{version.partition('-')[0]}"
        replaced = _engine.find_image(client, name)
        _import(client, root.path, name, _changes(release, root.version), progress)
        if replaced is not None:
            _remove_nameless(client, replaced)
    return name


def _remove_nameless(client: DockerClient, image: Image) -> None:
    """Remove an image of ours that lost its name to its successor, unless it has another or is in use."""
    with contextlib.suppress(docker.errors.NotFound):
        image.reload()
        if _LABEL in image.labels and not image.tags:
            with contextlib.suppress(docker.errors.APIError):
                client.client.images.remove(str(image.id))


def _import(client: DockerClient, root: Path, name: str, changes: list[str], progress: Progress) -> None:
    repository, label = parse_repository_tag(name)
    api: Any = client.client.api  # its stubs know nothing of a stream
    try:
        answer = api.import_image_from_data(
            _archive(root, progress), repository=repository, tag=label or "latest", changes=changes
        )
        refusals = [event["error"] for event in map(json.loads, answer.splitlines()) if "error" in event]
    except _engine.ENGINE_ERRORS as error:
        refusals = [_engine.explain(error)]
    if refusals:
        raise Unavailable(f"The engine did not take the image {name}: {'; '.join(refusals)}.")


def _changes(release: str, version: str) -> list[str]:
    title = f"RabbitMQ {version} of Debian {release}, for tests"
    return [
        f"USER {_USER}",
        f"WORKDIR /{_HOME}",
        f"ENV HOME=/{_HOME}",
        # Before Debian's wrappers in /usr/sbin, which want to change the user.
        "ENV PATH=/usr/lib/rabbitmq/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ENV LANG=C.UTF-8",
        "ENV RABBITMQ_LOGS=-",
        "EXPOSE 5672",
        'ENTRYPOINT ["docker-entrypoint.sh"]',
        'CMD ["rabbitmq-server"]',
        f'LABEL org.opencontainers.image.title="{title}"',
        f'LABEL org.opencontainers.image.version="{version}"',
        f'LABEL {_LABEL}="debian:{release}"',
    ]


class _Sink:
    """What the archive is written to: keeps what was written until it is taken."""

    def __init__(self) -> None:
        self.held = bytearray()

    def write(self, data: bytes) -> int:
        self.held += data
        return len(data)

    def take(self) -> bytes:
        taken, self.held = bytes(self.held), bytearray()
        return taken


def _archive(root: Path, progress: Progress) -> Iterator[bytes]:
    """Yield the image's file system as a tar archive, in pieces."""
    uid = _uid(root)

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        # The node's user has what it writes to, root has the rest; whoever unpacked it is nobody in there.
        path = PurePosixPath(member.name)
        member.uid = member.gid = uid if any(path.is_relative_to(place) for place in _WRITTEN) else 0
        member.uname = member.gname = ""
        return member

    added = {entry.path for entry in _ADDED}
    files = [path for path in _walk(root) if str(path.relative_to(root)) not in added]
    total = sum(path.lstat().st_size for path in files) or 1
    done = 0
    sink = _Sink()
    with tarfile.open(fileobj=cast("IO[bytes]", sink), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for entry in _ADDED:
            member = tarfile.TarInfo(entry.path)
            member.type = tarfile.DIRTYPE if entry.content is None else tarfile.REGTYPE
            member.mode = entry.mode
            member.size = len(entry.content or b"")
            tar.addfile(owned(member), io.BytesIO(entry.content or b""))
        for path in files:
            tar.add(path, arcname=str(path.relative_to(root)), recursive=False, filter=owned)
            done += path.lstat().st_size
            if len(sink.held) >= _CHUNK:
                progress("Making the image", done / total)
                yield sink.take()
    yield sink.take()
    progress("Making the image", 1.0)


def _uid(root: Path) -> int:
    for line in (root / "etc/passwd").read_text().splitlines():
        name, _, uid, *_ = line.split(":")
        if name == _USER:
            return int(uid)
    raise LookupError(f"{root}/etc/passwd has no user {_USER}")


def _walk(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        here = Path(folder)
        if here == root:
            names[:] = [name for name in names if name not in _EMPTY]
        names.sort()
        for name in [*names, *sorted(files)]:
            path = here / name
            kind = stat.S_IFMT(path.lstat().st_mode)
            if kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                yield path
