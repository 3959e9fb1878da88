"""The pytest plugin: what is said to who asks for what cannot be, before anything is collected."""

import pytest

RESTART = "`sh -c 'x` is no command: No closing quotation. Quote it as for a shell."
SETTING = "'heartbeat' is no setting of a broker: use KEY=VALUE as in rabbitmq.conf, such as "
WRONG = [
    (["--broker-restart-command=sh -c 'x"], f"--broker-restart-command: {RESTART}"),
    (["-o", "workqueue_broker_restart_command=sh -c 'x"], f"--broker-restart-command: {RESTART}"),
    (["--broker-setting=heartbeat"], f"--broker-setting: {SETTING}"),
    (["-o", "workqueue_broker_setting=heartbeat"], f"--broker-setting: {SETTING}"),
    (["--behind=drops-publish"], "--behind: There is no liar 'drops-publish'; did you mean drops-publishes"),
    (["--behind=xyzzy", "-n1"], "--behind: There is no liar 'xyzzy'; `workqueue liar` lists them."),
    (
        ["--guarantee-events=no/such/folder"],
        "--guarantee-events: no/such/folder cannot be written: No such file or directory. Name a file in ",
    ),
    (["--guarantee-events=."], "--guarantee-events: . cannot be written: Is a directory."),
]


def refused(result, words):
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {words}" in result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(("options", "words"), WRONG, ids=[" ".join(options) for options, _ in WRONG])
def test_an_option_that_says_nothing_is_wrong_usage(project, options, words):
    project.makepyfile("def test_it(workqueue_broker): pass")

    refused(project.runpytest_subprocess(*options), words)


def test_a_patience_that_is_no_number_of_seconds_is_wrong_usage(project, monkeypatch):
    monkeypatch.setenv("WORKQUEUE_PATIENCE", "abc")
    project.makepyfile("def test_it(workqueue_broker): pass")

    refused(
        project.runpytest_subprocess("--broker=fake"), "The environment variable WORKQUEUE_PATIENCE is 'abc', which"
    )


@pytest.mark.parametrize("module", ["psutil", "testcontainers"])
def test_where_the_extra_is_not_installed_each_fixture_says_how_to_have_it(project, module):
    project.makeconftest(f"import sys; sys.modules[{module!r}] = None")
    project.makepyfile("def test_it(workqueue_queue): pass\ndef test_other(): pass")
    result = project.runpytest_subprocess("--queue-type=classic")

    result.assert_outcomes(passed=1, errors=1)
    words = f"The fixtures of workqueue need what its extra `verify` brings, and there is no {module}: "
    result.stdout.fnmatch_lines([words + "pip install 'workqueue-guarantees?verify?'"])
    assert "Error: " not in result.stdout.str()
