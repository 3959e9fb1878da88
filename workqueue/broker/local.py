"""`local` and `local:DIR`: a private node from a RabbitMQ that is installed here, run as the user who asks."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from workqueue.broker.errors import SpecError, Unavailable
from workqueue.broker.handle import Source
from workqueue.broker.installation import Installation
from workqueue.broker.node import InstalledSource
from workqueue.broker.progress import Progress, silent

_SERVER = "rabbitmq-server"
# Where distributions, the generic archive, and Homebrew (on both of its prefixes) put the start scripts.
_PLACES = (
    "/usr/lib/rabbitmq/bin",
    "/usr/lib64/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/usr/local/sbin",
)
_INSIDE = ("", "sbin", "bin", "usr/lib/rabbitmq/bin")
# Erlang's own folder has epmd, which is not on every PATH; Homebrew's is on that of login shells only.
_ERLANG_PLACES = ("/usr/lib/erlang/bin", "/opt/homebrew/bin", "/usr/local/bin")


class LocalSource(InstalledSource):
    """A RabbitMQ that is installed on this machine."""

    def __init__(self, spec: str, scripts: Path) -> None:
        self.spec = spec
        self._scripts = scripts

    def installation(self) -> Installation:
        """Return where its start scripts are."""
        return Installation(
            spec=self.spec,
            provider="local",
            server=str(self._scripts / _SERVER),
            ctl=str(self._scripts / "rabbitmqctl"),
            environment=_environment(),
        )


def available() -> tuple[bool, str]:
    """Tell whether `local` can serve, and why or why not."""
    scripts = _installed()
    if scripts is None:
        return False, "no rabbitmq-server is installed"
    return True, f"rabbitmq-server is installed in {scripts}"


def source(spec: str, *, progress: Progress = silent, restart_command: Sequence[str] | None = None) -> Source:
    """Parse `local` and `local:DIR`."""
    del progress, restart_command  # nothing takes long; and we restart by ourselves
    _, colon, directory = spec.partition(":")
    if not colon:
        scripts = _installed()
        if scripts is None:
            raise Unavailable(
                "No rabbitmq-server is installed here: it is neither on PATH nor where packages put it. Install it, "
                "say where it is with `--broker local:DIR`, or use another (`--broker debian:trixie`, `container`)."
            )
        return LocalSource(spec, scripts)
    if not directory:
        raise SpecError("Which directory? Use local:DIR with the directory that rabbitmq-server is in, or local.")
    try:
        folder = Path(directory).expanduser().absolute()
        os.access(folder, os.F_OK)
    except (RuntimeError, ValueError) as error:  # ~nobody, or a null byte
        raise SpecError(f"{spec!r} names no directory: {error}.") from None
    for inside in _INSIDE:
        scripts = folder / inside
        if os.access(scripts / _SERVER, os.X_OK) and (scripts / _SERVER).is_file():
            return LocalSource(f"local:{directory}", scripts)
    raise Unavailable(
        f"There is no rabbitmq-server that can be run in {directory}, nor in its folders {', '.join(_INSIDE[1:])}."
    )


def _installed() -> Path | None:
    """Return the folder of the start scripts of the RabbitMQ that is installed."""
    candidates = [Path(place) / _SERVER for place in _PLACES]
    on_path = shutil.which(_SERVER)
    if on_path:
        candidates.insert(0, Path(on_path).resolve())
    for candidate in candidates:
        # Packages put a wrapper on PATH that runs the server as another user; the scripts have this beside them.
        if os.access(candidate, os.X_OK) and (candidate.resolve().parent / "rabbitmq-env").exists():
            return candidate.resolve().parent
    return None


def _environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_SOCKET"))
    }
    path = [kept.get("PATH", os.defpath)]
    erl = shutil.which("erl", path=os.pathsep.join([*path, *_ERLANG_PLACES]))
    if erl:
        path += [str(Path(erl).parent), str(Path(erl).resolve().parent)]
    kept["PATH"] = os.pathsep.join([*path, *_ERLANG_PLACES])
    return kept
