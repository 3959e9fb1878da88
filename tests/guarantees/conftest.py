"""Short names for the plugin's fixtures, so that specs read like the tutorial."""

import pytest


@pytest.fixture
def broker(workqueue_stage):
    # The broker as this spec sees it: where its proof is run, behind a liar.
    return workqueue_stage.broker


@pytest.fixture
def stage(workqueue_stage):
    return workqueue_stage


@pytest.fixture
def queue(workqueue_queue):
    return workqueue_queue


@pytest.fixture
def publish(workqueue_publish):
    return workqueue_publish


@pytest.fixture
def workers(workqueue_workers):
    return workqueue_workers


@pytest.fixture
def core(workqueue_stage):
    return workqueue_stage.core
