"""A broker that a test left down, which all tests after it would fail by: it is started again, and the test named."""

import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from workqueue.broker import Broker


class Uptime:
    """Looks at the brokers of this process after each test: at their processes, so that it costs nothing.

    Nothing can be seen so of a broker that is not ours, and nothing is done about it.
    """

    def __init__(self) -> None:
        self._brokers: dict[str, Broker] = {}
        self._down: dict[str, str] = {}
        # A fixture of a class, a module or the session may have taken a broker down for all tests that use it.
        self._held_down: list[tuple[pytest.FixtureDef[Any], str]] = []

    @contextlib.contextmanager
    def watched(self, spec: str, broker: "Broker") -> Iterator[None]:
        """Look at a broker from now on, and no more when it is no longer of use.

        :param spec: as the tests have it as a parameter.
        """
        self._brokers[spec] = broker
        try:
            yield
        finally:
            del self._brokers[spec]
            self._down.pop(spec, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail at once what is to run on a broker that could not be started again."""
        spec = item.callspec.params.get("workqueue_broker") if hasattr(item, "callspec") else None
        if spec in self._down:
            pytest.fail(self._down[spec], pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """See whether it is a fixture for several tests that takes a broker down."""
        if fixturedef.scope == "function":
            return (yield)
        up = [spec for spec, broker in self._brokers.items() if broker.ended() is None]
        result = yield
        took = [spec for spec in up if spec in self._brokers and self._brokers[spec].ended() is not None]
        self._held_down += [(fixturedef, spec) for spec in took]
        return result

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """See whether one that took a broker down is over."""
        self._held_down = [(holder, spec) for holder, spec in self._held_down if holder is not fixturedef]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        """Start again what the test left down."""
        try:
            yield
        finally:
            held_down = {spec for _, spec in self._held_down}
            for spec in self._brokers.keys() - self._down.keys() - held_down:
                self._bring_up(item, spec)

    def _bring_up(self, item: pytest.Item, spec: str) -> None:
        broker = self._brokers[spec]
        if (how := broker.ended()) is None:
            return
        try:
            broker.start()
        except Exception as error:  # noqa: BLE001 - whatever it was, the tests after this one are told
            why = str(error).partition("\n")[0]  # without the log of a node
            self._down[spec] = f"The broker {broker.spec} is down since {item.nodeid} ({how}), and stays so: {why}"
            told = self._down[spec]
        else:
            told = (
                f"The broker {broker.spec} was down after this test ({how}), and was started again for the next. What "
                "kills or stops a broker has to start it again also when it fails: in a `finally`, or in a fixture."
            )
        item.warn(pytest.PytestWarning(told))
