"""What a liar is: it hears the methods that it asks for, and decides what becomes of each."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from workqueue.wire.frames import Command
from workqueue.wire.session import Channel, Session, Side

Hearing = Callable[[Any, Channel, Command], Iterable[Command]]
F = TypeVar("F", bound=Hearing)


def from_client(*methods: Any) -> Callable[[F], F]:
    """The decorated method of a liar hears these methods (pika's classes) when a client sends them.

    It returns the commands that the broker gets in their place: ``[command]`` changes nothing, ``[]`` swallows it.
    """
    return _hears(Side.CLIENT, methods)


def from_broker(*methods: Any) -> Callable[[F], F]:
    """The decorated method of a liar hears these methods when the broker sends them; see `from_client`."""
    return _hears(Side.BROKER, methods)


def _hears(origin: Side, methods: Iterable[Any]) -> Callable[[F], F]:
    def mark(function: F) -> F:
        heard = {(origin, method.INDEX) for method in methods}
        function.workqueue_hears = heard  # type: ignore[attr-defined]  # functions take attributes
        return function

    return mark


class Liar:
    """One that hears nothing, so that every byte passes. Those that lie break one promise each, and count their lies.

    One is made for each proxy, so it can know of several connections.
    """

    name: ClassVar[str] = ""
    """What it is asked for by."""
    does: ClassVar[str] = ""
    """The promise that it breaks, as the rest of a sentence that begins with "It"."""
    hears: ClassVar[Mapping[Side, Mapping[int, str]]] = {side: {} for side in Side}

    def __init_subclass__(cls) -> None:
        hears: dict[Side, dict[int, str]] = {side: dict(cls.hears[side]) for side in Side}
        for name, value in vars(cls).items():
            for origin, method_id in getattr(value, "workqueue_hears", ()):
                hears[origin][method_id] = name
        cls.hears = hears

    def __init__(self) -> None:
        self.lies = 0
        """How many it has told."""

    @property
    def listens(self) -> bool:
        """Whether it needs what passes cut into frames."""
        return any(self.hears.values())

    def lie(self) -> None:
        """Count a lie."""
        self.lies += 1

    def hear(self, origin: Side, channel: Channel, command: Command) -> Iterable[Command]:
        """Hear a method that it asked for; returns what the other end gets."""
        heard: Iterable[Command] = getattr(self, self.hears[origin][command.method_id])(channel, command)
        return heard

    def client_gone(self, session: Session) -> float:  # noqa: ARG002 - most do not care
        """A client is gone, and the broker does not know yet; returns for how many seconds it should not."""
        return 0.0

    def broker_gone(self, session: Session) -> float:  # noqa: ARG002 - most do not care
        """The broker is gone, or closed the connection; returns for how many seconds the client should not know."""
        return 0.0

    def ctl(self, run: Callable[..., str], *command: str) -> str:
        """What an operator gets to read who runs a command of ``rabbitmqctl``."""
        return run(*command)


def another(name: str) -> str:
    """Another name than this, as long as AMQP permits: 255 bytes."""
    return f"not-{name}".encode()[:255].decode(errors="ignore")
