"""What the harness needs beyond what the core does: the extra ``verify``."""

import importlib.util

# What it brings that brokers and stages are made with.
_MODULES = ("filelock", "packaging", "platformdirs", "psutil", "testcontainers")


def missing_extra() -> str:
    """What is missing, and what to do about it; empty if nothing is. Nothing is imported."""
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"The fixtures of workqueue need what its extra `verify` brings, and there is no {', '.join(missing)}: "
        "pip install 'workqueue-guarantees[verify]'"
    )
