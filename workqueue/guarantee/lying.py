"""A broker seen through a liar: the same broker, behind a proxy that breaks one promise."""

import contextlib
import difflib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from workqueue.broker import Broker
from workqueue.guarantee.proof import Caught
from workqueue.guarantee.verdict import NotApplicable
from workqueue.wire.liars import KNOWN
from workqueue.wire.proxy import Proxy

#: Seconds that a spec may take under a liar before its connections are cut: it may wait for an answer that was
#: swallowed, and has no reason to stop waiting.
LIMIT = 30.0

if TYPE_CHECKING:
    from workqueue.guarantee.stage import Stage


def no_such_liar(name: str) -> str:
    """What to say of a name that no liar has, with those that may be meant; empty if one has it."""
    if name in KNOWN:
        return ""
    near = difflib.get_close_matches(name, KNOWN, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`workqueue liar` lists them."
    return f"There is no liar {name!r}; {hint}"


class LyingBroker(Broker):
    """Delegates everything to a broker, but for what is said over AMQP and what rabbitmqctl lists.

    :param liar: its name.
    :param spec: what to call this broker in a report (default: as the broker itself).
    :param limit: seconds after which `limited` cuts the connections, or None.
    """

    def __init__(self, broker: Broker, liar: str, *, spec: str | None = None, limit: float | None = None) -> None:
        if not broker.url.startswith("amqp:"):
            raise NotApplicable("a liar in between would break the TLS host name")
        self.limit = limit
        self.liar = KNOWN[liar]()
        self._broker = broker
        self._proxy = Proxy.to(broker.url, self.liar)
        self.spec = spec or broker.spec
        self.url = self._proxy.through(broker.url)
        self.safe_url = f"{broker.safe_url} behind {liar}"
        self.about = broker.about
        self.capabilities = broker.capabilities

    def stop(self) -> None:
        """Stop the broker itself."""
        self._broker.stop()

    def kill(self) -> None:
        """Kill the broker itself."""
        self._broker.kill()

    def start(self) -> None:
        """Start the broker itself."""
        self._broker.start()

    def restart(self) -> None:
        """Restart the broker itself."""
        self._broker.restart()

    def ended(self) -> str | None:
        """How the broker itself has ended."""
        return self._broker.ended()

    def ctl(self, *args: str) -> str:
        """What the liar lets an operator see."""
        return self.liar.ctl(self._broker.ctl, *args)

    def mark(self) -> int:
        """A position in the broker's log."""
        return self._broker.mark()

    def log_since(self, mark: int) -> str:
        """The broker's own log."""
        return self._broker.log_since(mark)

    def does_not_answer(self) -> str | None:
        """Whether the broker itself serves: not what the liar makes of that."""
        return self._broker.does_not_answer()

    def close(self) -> None:
        """Close the proxy; the broker is somebody else's."""
        self._proxy.close()

    def cut(self) -> None:
        """Cut all connections through the proxy."""
        self._proxy.cut()


@contextlib.contextmanager
def behind(broker: Broker, liar: Caught | None) -> Iterator[Broker]:
    """The broker as it is to be seen: itself, or behind a liar for a while."""
    if liar is None or liar.mutant is not None:
        yield broker
        return
    with LyingBroker(broker, liar.by, limit=LIMIT) as lying:
        yield lying


@contextlib.contextmanager
def limited(broker: Broker) -> Iterator[None]:
    """What happens inside ends in time: a broker that has a limit cuts all connections then."""
    if not isinstance(broker, LyingBroker) or broker.limit is None:
        yield
        return
    timer = threading.Timer(broker.limit, broker.cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def lies_told(stage: "Stage") -> int:
    """How often a stage's liar lied, or its mutant made its mistake."""
    if isinstance(stage.broker, LyingBroker):
        return stage.broker.liar.lies
    return stage.core.mistakes
