"""What a warden owns, on disk, so that a later one can clear up after a warden that was itself killed."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from workqueue.warden._processes import kill_until_gone, process_table


class Ledger:
    """A file that is locked as long as its warden lives."""

    def __init__(self) -> None:
        self.directories: set[str] = set()
        self.children: dict[int, str] = {}
        """Session leaders: when each started, by pid."""
        self.labels: set[str] = set()
        unlocked, self._fd = _new_file()
        self._path = unlocked.with_suffix(".json")
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        unlocked.rename(self._path)  # from here on others see it, and see it locked

    def save(self) -> None:
        """Write it down."""
        content = {
            "directories": sorted(self.directories),
            "children": {str(pid): started for pid, started in self.children.items()},
            "labels": sorted(self.labels),
        }
        data = json.dumps(content).encode()
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))

    def close(self) -> None:
        """Nothing is owned any more."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)
        _leave_folder()


def orphaned() -> list[dict[str, Any]]:
    """Return, and end, the ledgers of wardens that are dead.

    Processes and directories in them are cleared up here; the `labels` are left for the caller to do.
    """
    found = []
    for path in _folder_path().glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            fd = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                data = os.pread(fd, os.fstat(fd).st_size, 0)
                content = json.loads(data) if data else {}
                _clear_up(content)
                path.unlink(missing_ok=True)
                found.append(content)
            finally:
                os.close(fd)
    _leave_folder()
    return found


def live_wardens() -> set[int]:
    """Return the pids of the wardens whose ledgers are there."""
    return {int(path.name.partition("-")[0]) for path in _folder_path().glob("*.json")}


def _clear_up(content: dict[str, Any]) -> None:
    started = {int(pid): when for pid, when in content.get("children", {}).items()}
    # A leader that is gone or replaced says nothing about who has its session's number now.
    sessions = {p.pid for p in process_table() if started.get(p.pid) == p.started and p.session == p.pid}
    kill_until_gone(lambda table: {p.pid for p in table if p.session in sessions}, lambda: None, patience=5)
    for directory in content.get("directories", ()):
        remove_tree(directory)


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it, also where a folder in it was made read-only."""

    def retry(_function: object, name: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            Path(name).parent.chmod(0o700)
            if Path(name).is_dir() and not Path(name).is_symlink():
                Path(name).chmod(0o700)
                shutil.rmtree(name, ignore_errors=True)
            else:
                Path(name).unlink()

    # Python 3.12 renamed the hook; this spelling is understood by all that we support.
    shutil.rmtree(path, onerror=retry)  # type: ignore[deprecated,unused-ignore]
    # Something may have been written while we removed; one more pass settles it.
    shutil.rmtree(path, ignore_errors=True)


def _new_file() -> tuple[Path, int]:
    while True:
        path = _folder() / f"{os.getpid()}-{time.time_ns()}"
        # The last warden to go takes the folder along, perhaps just now.
        with contextlib.suppress(FileNotFoundError):
            return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)


def _folder_path() -> Path:
    return Path(tempfile.gettempdir()) / f"workqueue-wardens-{os.getuid()}"


def _leave_folder() -> None:
    with contextlib.suppress(OSError):  # a warden's ledger is in it, or it is gone
        _folder_path().rmdir()


def _folder() -> Path:
    folder = _folder_path()
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return _folder()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(f"{folder} is not ours alone: somebody else made it, remove it")
    return folder
