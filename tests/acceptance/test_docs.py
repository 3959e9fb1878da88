"""What the documentation shows works as shown."""

import re
from pathlib import Path

import platformdirs
import pytest

from workqueue import Message, Reject
from workqueue.cli.worker import command
from workqueue.observe.metrics import Metrics

ROOT = Path(__file__).parents[2]


def python_blocks(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def cache(monkeypatch):
    """The cache of whoever runs the tests, also once pytester has put another folder in the place of their home."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(platformdirs.user_cache_path()))


def test_the_examples_for_pytest_pass(cache, pytester, request):
    example, guarantee = python_blocks("docs/fixtures.md")
    pytester.makepyfile(test_example=example, test_guarantee=guarantee)
    # The broker that this run was told to use.
    options = [f"--broker={spec}" for spec in request.config.option.workqueue_broker or []]

    result = pytester.runpytest_subprocess("--import-mode=importlib", *options)

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["billing * 2 holds"])


def test_the_core_is_used_as_shown(workqueue_broker):
    [example] = python_blocks("README.md")
    produce, _, _ = example.partition("Worker(url")
    done = []
    namespace = {"url": workqueue_broker.url, "print": done.append}

    exec(produce, namespace)
    worker = namespace["Worker"](workqueue_broker.url, namespace["queue"], lambda message: run(message))

    def run(message):
        namespace["handler"](message)
        worker.stop()

    worker.run()
    assert done == ["First message."]


def test_a_worker_is_run_and_watched_as_shown(workqueue_broker, workqueue_queue, workqueue_publish, port):
    handler, watched = python_blocks("docs/worker.md")
    printed = []
    namespace = {
        "url": workqueue_broker.url,
        "queue": workqueue_queue.name,
        "port": port,
        "print": lambda line: (printed.append(line), namespace["worker"].stop()),
    }
    workqueue_publish('{"id": 3}')

    exec(handler, namespace)
    exec(watched, namespace)

    assert printed == ["order 3"]
    done = namespace["metrics"].registry.get_sample_value(
        "workqueue_tasks_total", {"queue": workqueue_queue.name, "outcome": "done"}
    )
    assert done == 1
    with pytest.raises(Reject):
        namespace["handle"](Message(b"{}", "orders"))


def test_every_option_and_metric_is_in_the_documentation():
    page = (ROOT / "docs/worker.md").read_text(encoding="utf-8")
    options = {name for each in command.params if not getattr(each, "hidden", False) for name in each.opts}
    metrics = {family.name for family in Metrics().registry.collect() if family.name.startswith("workqueue_")}

    assert [name for name in options if f"`{name}" not in page] == []
    assert [name for name in metrics if f"`{name}" not in page] == []


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CI.md",
        "GUARANTEES.md",
        "docs/architecture.md",
        "docs/findings.md",
        "docs/fixtures.md",
        "docs/worker.md",
    ],
)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!<?https?:)([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    broken = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert broken == []
