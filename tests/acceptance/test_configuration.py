"""`--broker-setting`, and what a report says of a broker's configuration, with real brokers."""

import json
import os
import subprocess
import sys

import pytest

CAN_BE_DECLARED = "queues.transient-queue-can-be-declared"
COSTS_THE_CONNECTION = "queues.refused-transient-queue-costs-the-connection"
PERMIT = "permit.transient_nonexcl_queues"


@pytest.fixture
def verify(tmp_path):
    """Run ``workqueue verify`` on the two guarantees about transient queues; the report."""

    def run(*options):
        report = tmp_path / "report.json"
        argv = [sys.executable, "-P", "-m", "workqueue", "verify", "--only", CAN_BE_DECLARED]
        argv += ["--only", COSTS_THE_CONNECTION, "--queue-type", "classic", "--json", str(report), *options]
        env = {name: value for name, value in os.environ.items() if name != "WORKQUEUE_BROKER"}
        ended = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads(report.read_text())

    return run


def verdicts(report):
    return {cell["slug"]: (cell["verdict"], cell["expected"]) for cell in report["cells"]}


def configuration(report):
    [about] = report["brokers"].values()
    return about["configuration"]


@pytest.mark.parametrize("permitted", ["true", "false"])
def test_expectations_follow_what_the_broker_was_set_to(workqueue_broker, verify, permitted):
    if workqueue_broker.about.provider == "external":
        pytest.skip("it runs already")
    settings = ["--broker-setting", "heartbeat=17"]
    if PERMIT in workqueue_broker.about.configuration:  # deprecated features came with 3.13
        settings += ["--broker-setting", f"deprecated_features.{PERMIT}={permitted}"]

    report = verify("--broker", workqueue_broker.spec, *settings)

    assert configuration(report)["heartbeat"] == "17"
    if len(settings) == 4:
        assert configuration(report)[PERMIT] == permitted
        denied = permitted == "false"
        assert verdicts(report)[CAN_BE_DECLARED] == (("broken",) * 2 if denied else ("holds",) * 2)
        assert verdicts(report)[COSTS_THE_CONNECTION] == (("holds",) * 2 if denied else ("broken",) * 2)


def test_a_broker_behind_a_url_is_tried_for_what_it_permits(workqueue_broker, verify):
    report = verify("--broker", workqueue_broker.url)

    assert configuration(report)[PERMIT] == workqueue_broker.about.configuration.get(PERMIT, "true")
    assert "wq-" not in workqueue_broker.ctl("list_queues", "name")
