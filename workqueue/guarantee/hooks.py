"""The hooks that the plugin adds to pytest."""

import pytest


@pytest.hookspec
def pytest_workqueue_no_broker(message: str) -> None:
    """Called when a broker that specs need cannot be had; the message says why and what to do."""
