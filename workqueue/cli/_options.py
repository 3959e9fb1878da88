"""What the commands that talk to a broker share: options, and how an error of the core is told."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from workqueue.errors import ConnectionFailed, InvalidURL, TopologyMismatch, WorkqueueError
from workqueue.observe.hints import hint_for
from workqueue.queue import Queue, QueueType, check_name

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

URL_VARIABLES = ["WORKQUEUE_URL", "AMQP_URL", "RABBITMQ_URL", "CLOUDAMQP_URL"]
"""Where a broker's URL is looked for, in this order: ours, then what others have agreed on."""

_OF_ANOTHER_TYPE = re.compile(r"inequivalent arg 'x-queue-type' for queue '(.*)' in vhost '", re.DOTALL)
"""In the broker's explanation of a TopologyMismatch, where that is about a queue's type: which queue."""


def option(name: str, **settings: Any) -> Callable[[Command], Command]:
    """An option that can be set by the environment, too: --queue-type by WORKQUEUE_QUEUE_TYPE."""
    variable = "WORKQUEUE_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, envvar=variable, show_envvar=True, **settings)


class Duration(click.types.FloatParamType):
    """A finite number of seconds, or what ``unit`` says; of what click itself takes for one, none can wait for nan."""

    _MOST = 1e9  # thirty years; what is longer overflows some clock or other

    def __init__(self, unit: str = "seconds", *, zero: bool = True) -> None:
        self._unit = unit
        self._zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As click calls it."""
        number: float = super().convert(value, param, ctx)
        if not 0 <= number <= self._MOST or (number == 0 and not self._zero):
            least = "0" if self._zero else "more than 0"
            self.fail(f"{value} is no number of {self._unit} from {least} to {self._MOST:,.0f}.", param, ctx)
        return number


url_option = click.option(
    "--url",
    envvar=URL_VARIABLES,
    show_envvar=True,
    default="amqp://guest:guest@localhost:5672/%2F",
    show_default="amqp://guest:***@localhost:5672/%2F",
    help="The broker: amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps:// for TLS. Of the variables, the first that is "
    "set counts.",
)

_QUEUE_OPTIONS = (
    option(
        "--queue",
        metavar="NAME",
        default="task_queue",
        show_default=True,
        help="The queue; it is made if there is none.",
    ),
    option(
        "--queue-type",
        type=click.Choice(["quorum", "classic"]),
        show_default="that of the queue if there is one, else quorum",
        help="The type that the queue must have.",
    ),
    option(
        "--dead-letter",
        metavar="QUEUE",
        help="Where rejected tasks, and those that failed too often, go; it is made if there is none.",
    ),
    option(
        "--delivery-limit",
        type=click.IntRange(-1),
        metavar="N",
        show_default="the broker's: 20 since RabbitMQ 4.0, none before",
        help="How often a task of a quorum queue may come back before it is dead-lettered; -1 for no limit.",
    ),
)


def queue_options(command: Command) -> Command:
    """The options that say which queue; whoever uses it has to be told the same. They make a `Wanted`."""
    for each in reversed(_QUEUE_OPTIONS):
        command = each(command)
    return command


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """The queue that was asked for."""

    queue: str
    queue_type: QueueType | None
    dead_letter: str | None
    delivery_limit: int | None

    def declared(self, types: dict[str, QueueType]) -> Queue:
        """The queue as it is declared; of the type asked for, else of that in ``types``, else a quorum queue."""

        def kind(name: str) -> QueueType:
            return self.queue_type or types.get(name, "quorum")

        for name, given in (("--queue", self.queue), ("--dead-letter", self.dead_letter)):
            try:
                check_name("unused" if given is None else given)
            except UnicodeEncodeError as error:
                raise click.UsageError(f"{name}: a queue's name is UTF-8, and {given!r} is not.") from error
            except ValueError as error:
                raise click.UsageError(f"{name}: {error}.") from error
        if self.dead_letter == self.queue:
            raise click.UsageError(
                f"The queue {self.queue!r} cannot be its own dead letter queue: what a worker gives up would come back "
                "for ever. Give another name with --dead-letter."
            )
        try:
            dead_letter = None if self.dead_letter is None else Queue(self.dead_letter, kind(self.dead_letter))
            return Queue(self.queue, kind(self.queue), dead_letter=dead_letter, delivery_limit=self.delivery_limit)
        except ValueError as error:
            raise click.UsageError(f"These options do not go together: {error}.") from error


def with_queue(wanted: Wanted, use: Callable[[Queue], T]) -> T:
    """Call ``use`` with the queue, of the type asked for, or of the one that it has.

    The tutorial of today declares task_queue as a quorum queue, that of 2019 as a classic one. Without a type asked
    for, either one's programs can share the queue with ours. ``use`` declares it before it does anything else.
    """
    types: dict[str, QueueType] = {}
    while True:
        try:
            return use(wanted.declared(types))
        except TopologyMismatch as mismatch:
            free = {wanted.queue, wanted.dead_letter} if wanted.queue_type is None else set()
            if wanted.delivery_limit is not None:
                free.discard(wanted.queue)  # only quorum queues have one
            of_another_type = _OF_ANOTHER_TYPE.search(mismatch.text)
            if of_another_type is None or of_another_type[1] not in free - types.keys():
                raise
            types[of_another_type[1]] = "classic"


def exit_code(error: WorkqueueError) -> int:
    """What a command ends with that ended by this error."""
    return 3 if isinstance(error, InvalidURL | ConnectionFailed) else 1


def report(error: WorkqueueError) -> int:
    """Say on standard error what happened, why, and what to do; return the exit code."""
    click.echo(f"Error: {error}", err=True)
    if hint := hint_for(error):
        click.echo(f"Hint: {hint}", err=True)
    return exit_code(error)
