"""The warden's own process: `python -I -S _main.py`, with the client's socket as standard input."""

import sys
import types
from pathlib import Path


def _make_importable() -> None:
    """Let `workqueue.warden` be imported without site-packages, and without the package's own imports."""
    package = Path(__file__).resolve().parent.parent
    for name, folder in (("workqueue", package), ("workqueue.warden", package / "warden")):
        stub = types.ModuleType(name)
        stub.__path__ = [str(folder)]
        sys.modules[name] = stub


if __name__ == "__main__":
    _make_importable()
    from workqueue.warden._server import serve

    serve(client_fd=0)
