"""`workqueue queues`: what `rabbitmqctl list_queues name messages_ready messages_unacknowledged` shows."""

import base64
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from urllib.parse import quote, unquote, urlsplit

import click

from workqueue._url import check_url, safe_url
from workqueue.broker.errors import BrokerError
from workqueue.cli._kept import Kept, kept_brokers
from workqueue.cli._options import URL_VARIABLES
from workqueue.cli._output import output_has_to_arrive

_COLUMNS = ("name", "messages_ready", "messages_unacknowledged")
_DEFAULT_URL = "amqp://guest:guest@localhost:5672/%2F"
_MANAGEMENT = {"amqp": ("http", 15672), "amqps": ("https", 15671)}
_ANSWER = 5.0  # seconds for the management API
_CTL = 60.0  # seconds for rabbitmqctl


class CannotTell(click.ClickException):
    """No way to the broker's queues worked."""

    exit_code = 3


class _NoWayError(Exception):
    """This way does not lead there, and why."""


@click.command("queues")
@click.option(
    "--url",
    envvar=URL_VARIABLES,
    show_envvar=True,
    help="The broker.  [default: the one that `workqueue broker run` keeps, else amqp://guest:***@localhost:5672/%2F]",
)
@output_has_to_arrive()
def command(url: str | None) -> None:
    """Show the queues: messages that are ready, and messages that a worker holds and has not acknowledged yet.

    Asks the `workqueue broker run` that keeps the broker, else the broker's management API, else rabbitmqctl.

    \b
    Exit codes:
      0  shown
      2  standard output did not take it
      3  wrong usage, or no way to the broker's queues worked
    """
    if url is not None:
        check_url(url)
    kept = [broker for broker in kept_brokers() if url in (None, broker.url)]
    url = url or (kept[-1].url if kept else _DEFAULT_URL)
    ways: list[Callable[[], str]] = [partial(_by_keeper, broker, url) for broker in kept[-1:]]
    ways += [partial(_by_management, url), partial(_by_rabbitmqctl, url)]
    reasons = []
    for way in ways:
        try:
            click.echo(way(), nl=False)
        except _NoWayError as reason:
            reasons.append(str(reason))
        else:
            return
    raise CannotTell(f"The queues of {safe_url(url)} cannot be shown:\n  " + "\n  ".join(reasons))


def _by_keeper(broker: Kept, url: str) -> str:
    try:
        return broker.ctl("list_queues", "-p", _vhost(url), *_COLUMNS)
    except BrokerError as error:
        raise _NoWayError(str(error)) from error


def _by_management(url: str) -> str:
    parts = urlsplit(url)
    scheme, port = _MANAGEMENT[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    vhost = quote(_vhost(url), safe="")
    address = f"{scheme}://{host}:{port}"
    login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
    request = urllib.request.Request(  # noqa: S310 - the scheme is ours
        f"{address}/api/queues/{vhost}?columns={','.join(_COLUMNS)}",
        headers={"Authorization": "Basic " + base64.b64encode(login.encode()).decode()},
    )
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER) as answer:  # noqa: S310 - the scheme is ours
            queues = json.load(answer)
    except (OSError, ValueError) as error:
        raise _NoWayError(f"its management API at {address} did not answer: {error}") from error
    # The API has counts only once its statistics have seen the queue.
    rows = ["\t".join(_COLUMNS), *("\t".join(str(queue.get(name, 0)) for name in _COLUMNS) for queue in queues)]
    return "".join(row + "\n" for row in rows)


def _by_rabbitmqctl(url: str) -> str:
    parts = urlsplit(url)
    if parts.hostname not in ("localhost", "127.0.0.1", "::1") or parts.port not in (None, 5671, 5672):
        # It would show the queues of the node that has the default name on this machine, which is another.
        raise _NoWayError("rabbitmqctl was not tried: it asks a broker on this machine and the default port")
    ctl = shutil.which("rabbitmqctl")
    if ctl is None:
        raise _NoWayError("rabbitmqctl is not on PATH")
    try:
        run = subprocess.run(
            [ctl, "--quiet", "list_queues", "-p", _vhost(url), *_COLUMNS],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CTL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NoWayError(f"{ctl} could not be run: {error}") from error
    if run.returncode:
        said = (run.stderr or run.stdout).strip().splitlines()
        raise _NoWayError(f"{ctl} ended with status {run.returncode}: {said[0] if said else 'it said nothing'}")
    return run.stdout


def _vhost(url: str) -> str:
    return unquote(urlsplit(url).path[1:]) or "/"
