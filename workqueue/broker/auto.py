"""`auto`: the first provider that can serve: a container, else what is installed, else a Debian release."""

import importlib
from collections.abc import Sequence
from typing import cast

from workqueue.broker.errors import SpecError, Unavailable
from workqueue.broker.handle import Source
from workqueue.broker.progress import Progress, silent

# In this order. Each has `available() -> (bool, why)`, and answers within seconds.
_CANDIDATES = (
    ("container", "workqueue.broker.container"),
    ("local", "workqueue.broker.local"),
    ("debian:trixie", "workqueue.broker.debian"),
)


def source(spec: str, *, progress: Progress = silent, restart_command: Sequence[str] | None = None) -> Source:
    """Return the source of the first provider that can serve; its `why` says which and why."""
    if spec != "auto":
        raise SpecError(f"auto takes nothing after it: {spec!r}.")
    progress("Looking for a way to get a broker")
    passed_over: list[str] = []
    for candidate, module in _CANDIDATES:
        try:
            provider = importlib.import_module(module)
        except ImportError as error:
            serves, why = False, f"it needs {error.name}, which is not installed"
        else:
            serves, why = provider.available()
        if serves:
            chosen = cast("Source", provider.source(candidate, progress=progress, restart_command=restart_command))
            chosen.why = "; ".join([*passed_over, f"{chosen.spec}: {why}"])
            return chosen
        passed_over.append(f"not {candidate}: {why}")
    raise Unavailable(
        "No broker can be had on this machine:\n  " + "\n  ".join(passed_over) + "\n"
        "Install one of: a container engine (Docker, Podman); rabbitmq-server; on Debian, debian-archive-keyring and "
        "util-linux. Or give the URL of a broker that runs: --broker amqp://USER:PASSWORD@HOST/"
    )
