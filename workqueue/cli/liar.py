"""`workqueue liar`: a broker that breaks one promise, for any command that talks to a broker."""

import contextlib
import os
import signal

import click

from workqueue.broker import resolve
from workqueue.broker.errors import BrokerError
from workqueue.cli._errors import NoBroker
from workqueue.cli._liars import check_liar
from workqueue.cli._output import output_has_to_arrive
from workqueue.cli._progress import progress_on_stderr
from workqueue.warden import get_warden
from workqueue.wire.liars import KNOWN
from workqueue.wire.proxy import Proxy

_LOOK = 3600.0  # seconds; a wait without end cannot be interrupted everywhere


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--broker",
    "spec",
    envvar="WORKQUEUE_BROKER",
    default="auto",
    show_default=True,
    show_envvar=True,
    help="The broker behind it: container[:IMAGE], local[:DIR], debian:RELEASE, or an amqp:// URL.",
)
@click.option("--secret", is_flag=True, help="Do not say which one it was, nor how often it lied.")
@click.argument("name", required=False)
@click.argument("argv", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@output_has_to_arrive()
def command(spec: str, secret: bool, name: str | None, argv: tuple[str, ...]) -> int:
    """Run COMMAND against a broker that breaks exactly one promise: would your tests notice?

    A proxy on 127.0.0.1 stands between COMMAND and the broker, speaks correct AMQP, and lies. COMMAND finds it in its
    environment, as WORKQUEUE_BROKER and WORKQUEUE_URL. Without NAME, the liars are listed; "honest" tells no lies.

    \b
    Examples:
      workqueue liar
      workqueue liar swallows-acks -- workqueue verify --chapter acknowledgement
      workqueue liar drops-publishes --broker amqp://user:password@host:5672/%2F -- pytest tests/

    \b
    Exit codes:
      that of COMMAND; or
      3  wrong usage, or no broker to be had
    """
    if name is None:
        width = max(map(len, KNOWN))
        for known, kind in KNOWN.items():
            click.echo(f"{known:{width}}  {kind.does}")
        return 0
    check_liar(name)
    if not argv:
        raise click.UsageError(f"Which command? Such as: workqueue liar {name} -- workqueue verify")
    try:
        with progress_on_stderr() as progress:
            source = resolve(spec, progress=progress)
            source.prepare(progress)
            broker = source.start()
    except BrokerError as error:
        raise NoBroker(str(error)) from error
    with broker:
        if not broker.url.startswith("amqp:"):
            raise click.UsageError("A liar cannot read what is encrypted: give it an amqp:// URL.")
        with Proxy.to(broker.url, KNOWN[name]()) as proxy:
            status = _run(argv, proxy.through(broker.url))
            if not secret:
                click.echo(f"{name} lied {proxy.liar.lies} times: it {proxy.liar.does}.", err=True)
    return status


def _run(argv: tuple[str, ...], url: str) -> int:
    try:
        child = get_warden().spawn(
            argv, env={**os.environ, "WORKQUEUE_BROKER": url, "WORKQUEUE_URL": url}, stdin=0, stdout=1, stderr=2
        )
    except OSError as error:
        raise click.UsageError(f"{argv[0]} cannot be run: {error.strerror or error}") from error
    while True:
        try:
            with contextlib.suppress(TimeoutError):
                status = child.wait(_LOOK)
                return status if status >= 0 else 128 - status
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)  # it decides; when it has ended, so do we
