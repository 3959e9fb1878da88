"""The public fixtures of the pytest plugin; see ``docs/fixtures.md``.

They are prefixed, so that they clash with nobody's. What they need is imported when they are used.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from workqueue.broker.hidden import shown
from workqueue.guarantee.extra import missing_extra
from workqueue.guarantee.proving import STAGE
from workqueue.guarantee.uptime import Uptime

if TYPE_CHECKING:
    from workqueue.broker import Broker
    from workqueue.guarantee.across import Scene
    from workqueue.guarantee.evidence import Evidence  # noqa: F401 - in a string below
    from workqueue.guarantee.proof import Caught
    from workqueue.guarantee.queues import Queue
    from workqueue.guarantee.stage import Stage

#: Where the fixtures leave what the report needs: the evidence and, once there is one, the broker and its log mark.
EVIDENCE = pytest.StashKey["Evidence"]()
BROKER = pytest.StashKey["Broker"]()
LOG_MARK = pytest.StashKey[int | None]()

#: What sees to it that a broker is up for each test.
UPTIME = pytest.StashKey[Uptime]()

_SCENES = pytest.StashKey[dict[str, "Scene"]]()


@pytest.fixture(scope="session")
def workqueue_broker(request: pytest.FixtureRequest) -> Iterator["Broker"]:
    """A running broker (`workqueue.broker.Broker`), one for each ``--broker``, shared by the session."""
    if missing := missing_extra():
        pytest.fail(missing, pytrace=False)
    from workqueue.broker import NodeConfig, resolve
    from workqueue.broker.configuration import observe, parse_settings
    from workqueue.broker.errors import BrokerError
    from workqueue.guarantee.lying import LyingBroker
    from workqueue.guarantee.settings import Settings

    settings = Settings.of(request.config)
    spec = _chosen(request, settings.brokers)
    config = NodeConfig(settings=parse_settings(settings.broker_settings))
    try:
        source = resolve(spec, restart_command=settings.restart_command)
        source.check(config)
        source.prepare()
        broker = source.start(config)
    except BrokerError as error:
        problem = str(error)
    else:
        problem = ""
    if problem:  # no longer inside of the handler, whose traceback would be shown, with what is in its frames
        _do_without(request.config, problem, asked_for=settings.broker_was_chosen or bool(os.environ.get("CI")))
    with broker, request.config.stash[UPTIME].watched(spec, broker):
        observe(broker)
        if settings.behind is None:
            yield broker
            return
        with LyingBroker(broker, settings.behind, spec=f"{broker.spec} behind {settings.behind}") as lying:
            yield lying


def _chosen(request: pytest.FixtureRequest, among: Sequence[str]) -> str:
    """What a fixture is to be, of what this run was told: one for each, or the only one that there is."""
    if hasattr(request, "param"):
        param: str = request.param  # as it is, since a URL hides its password
        return param
    # Asked for by getfixturevalue, or in a test that pytest runs once whatever there is, as those of unittest.
    if len(among) == 1:
        return among[0]
    pytest.fail(
        f"This run has several choices for {request.fixturename} ({', '.join(map(shown, among))}), and nothing says "
        f"which of them this test is to have. Name {request.fixturename} as a parameter of the test, which then runs "
        "once for each; or choose one by --broker and --queue-type, which a method of unittest.TestCase needs.",
        pytrace=False,
    )


def _do_without(config: pytest.Config, problem: str, *, asked_for: bool) -> NoReturn:
    """Tell why there is no broker: an error, if somebody wanted one."""
    config.hook.pytest_workqueue_no_broker(message=problem)
    if asked_for:
        pytest.fail(f"no broker: {problem}", pytrace=False)
    pytest.skip(f"no broker: {problem}")


@pytest.fixture
def workqueue_queue_type(request: pytest.FixtureRequest) -> str:
    """``classic`` or ``quorum``: the test runs once for each that ``--queue-type`` names."""
    from workqueue.guarantee.settings import Settings

    return _chosen(request, Settings.of(request.config).queue_types)


@pytest.fixture
def workqueue_liar(request: pytest.FixtureRequest) -> "Caught | None":
    """What is to be caught, if this is a proof that the spec can fail; None for the spec as it is."""
    return getattr(request, "param", None)


@pytest.fixture
def workqueue_spec(
    request: pytest.FixtureRequest,
    workqueue_broker: "Broker",
    workqueue_queue_type: str,  # noqa: ARG001 - a spec runs for each type that its guarantee speaks of
    workqueue_liar: "Caught | None",  # noqa: ARG001 - and for each of its proofs
) -> None:
    """What the spec of a guarantee has, whatever it names: a broker that can do what it needs, and a queue type."""
    _play_on(request, workqueue_broker)


@pytest.fixture
def workqueue_stage(
    request: pytest.FixtureRequest,
    workqueue_broker: "Broker",
    workqueue_queue_type: str,
    workqueue_liar: "Caught | None",
) -> Iterator["Stage"]:
    """A `workqueue.guarantee.stage.Stage`: queues, workers and faults on the broker, gone when the test ends."""
    from workqueue.guarantee.evidence import Evidence
    from workqueue.guarantee.lying import behind, limited
    from workqueue.guarantee.settings import Settings
    from workqueue.guarantee.stage import Stage

    _play_on(request, workqueue_broker)  # which an autouse fixture may want before the spec has it
    with behind(workqueue_broker, workqueue_liar) as broker, limited(broker):
        mutant = None if workqueue_liar is None else workqueue_liar.mutant
        core_works = Settings.of(request.config).core_works
        stage = Stage(broker, workqueue_queue_type, Evidence(), mutant=mutant, core_works=core_works)
        _tell_the_report(request, stage)
        yield stage
        stage.close()


@pytest.fixture
def workqueue_queue(workqueue_stage: "Stage") -> "Queue":
    """An empty durable queue of the type under test."""
    return workqueue_stage.queue


@pytest.fixture
def workqueue_publish(workqueue_stage: "Stage") -> Any:
    """``publish(*tasks)``: publish to the queue, persistent and confirmed."""
    return workqueue_stage.publish


@pytest.fixture
def workqueue_workers(workqueue_stage: "Stage") -> Any:
    """``workers(count, **options)``: start worker processes; see `workqueue.guarantee.stage.Stage.workers`."""
    return workqueue_stage.workers


@pytest.fixture
def workqueue_across(
    request: pytest.FixtureRequest,
    workqueue_broker: "Broker",
    workqueue_spec: None,  # noqa: ARG001 - whether the broker can do what the spec needs
) -> "Scene":
    """The scene of a spec that was declared with ``across=``; the fault happens at the first one's turn."""
    from workqueue.guarantee.across import Crossing
    from workqueue.guarantee.catalogue import of

    scenes = request.session.stash.setdefault(_SCENES, {})
    entry = of(request.function)
    if entry is None or entry.across is None:
        raise pytest.UsageError("workqueue_across is for specs declared with across=")
    if request.node.nodeid not in scenes:
        fault = entry.across.partition("-")[0]
        group = _waiting_for_the_same(request, workqueue_broker, fault)
        scenes.update(group)
        Crossing(fault, workqueue_broker, list(group.values())).happen()
    scene = scenes.pop(request.node.nodeid)
    _tell_the_report(request, scene.stage)
    return scene


def _play_on(request: pytest.FixtureRequest, broker: "Broker") -> None:
    """Leave the broker to the report, and see that it can do what the guarantee needs, if the test is of one."""
    from workqueue.broker import Capability
    from workqueue.guarantee.catalogue import of
    from workqueue.guarantee.verdict import NotApplicable

    request.node.stash[BROKER] = broker
    entry = of(request.function)
    needs = () if entry is None else entry.needs
    if missing := [need for need in needs if Capability(need) not in broker.capabilities]:
        raise NotApplicable(f"{broker.spec} is not ours to: {', '.join(missing)}")


def _waiting_for_the_same(request: pytest.FixtureRequest, broker: "Broker", fault: str) -> dict[str, "Scene"]:
    from workqueue.guarantee.across import scene_of
    from workqueue.guarantee.catalogue import of
    from workqueue.guarantee.settings import Settings

    mine = request.node.callspec.params["workqueue_broker"]
    scenes = {}
    for item in request.session.items:
        if not isinstance(item, pytest.Function) or (entry := of(item.function)) is None or entry.across is None:
            continue
        kind, _, at_once = entry.across.partition("-")
        if kind == fault and item.callspec.params["workqueue_broker"] == mine:
            params: dict[str, Any] = dict(item.callspec.params)
            scenes[item.nodeid] = scene_of(
                item.function,
                broker,
                str(params["workqueue_queue_type"]),
                at_once=bool(at_once),
                liar=params.get("workqueue_liar"),
                core_works=Settings.of(request.config).core_works,
            )
    return scenes


def _tell_the_report(request: pytest.FixtureRequest, stage: "Stage") -> None:
    request.node.stash[EVIDENCE] = stage.evidence
    request.node.stash[LOG_MARK] = stage.log_mark
    request.node.stash[STAGE] = stage
