"""Getting a real RabbitMQ: one module a provider, one handle that they all return.

    source = resolve("debian:trixie")
    source.prepare()
    with source.start() as broker:
        ...  # broker.url

A provider is a module with `source(spec, *, progress, restart_command) -> Source`, which parses what
follows the scheme and raises `SpecError` or `Unavailable`. It is imported when it is asked for.
"""

import importlib
from collections.abc import Sequence
from typing import cast

from workqueue.broker import errors
from workqueue.broker.errors import SpecError
from workqueue.broker.handle import About, Broker, Capability, NodeConfig, Source
from workqueue.broker.progress import Progress, silent

__all__ = [
    "About",
    "Broker",
    "Capability",
    "NodeConfig",
    "Progress",
    "Source",
    "errors",
    "resolve",
]

_PROVIDERS = {
    "auto": "workqueue.broker.auto",
    "container": "workqueue.broker.container",
    "local": "workqueue.broker.local",
    "debian": "workqueue.broker.debian",
    "amqp": "workqueue.broker.external",
    "amqps": "workqueue.broker.external",
}

_GRAMMAR = "auto, container[:IMAGE], local[:DIR], debian:RELEASE, or an amqp:// or amqps:// URL"


def resolve(spec: str, *, progress: Progress = silent, restart_command: Sequence[str] | None = None) -> Source:
    """Return the source that `spec` names; `auto` decides here.

    `restart_command` restarts a broker that is not ours, and is of no use to the other providers. Raises
    `SpecError` for a spec that says nothing to us, and `Unavailable` when it is clear at once that it
    cannot be had.
    """
    scheme, _, _ = spec.partition(":")
    module = _PROVIDERS.get(scheme)
    if module is None:
        shown = spec if "@" not in spec else f"{scheme}:..."  # it may be a mistyped URL with a password in it
        raise SpecError(f"{shown!r} is no broker spec: use {_GRAMMAR}.")
    provider = importlib.import_module(module)
    return cast("Source", provider.source(spec, progress=progress, restart_command=restart_command))
