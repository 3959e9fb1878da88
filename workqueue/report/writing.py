"""Writing a report to where somebody wants it: a file, what a link leads to, a device, a pipe, an open descriptor."""

import fcntl
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DESCRIPTORS = Path("/proc/self/fd")


def check_writable(path: Path) -> None:
    """See to it, before a long run, that a report can be written.

    :raises OSError: if it cannot.
    """
    if (descriptor := _descriptor(path)) is not None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise PermissionError(f"{path} is open for reading alone")
    elif path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    elif _is_special(path):
        # It is not opened: a FIFO would wait for its reader, and whoever reads would take that for all there is.
        if not os.access(path, os.W_OK):
            raise PermissionError(f"{path} may not be written to")
    else:
        target = _target(path)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}."):
            pass


def can_be_replaced(path: Path) -> bool:
    """Whether it is a regular file or nothing yet, so that what is written next takes the place of what was there."""
    return _descriptor(path) is None and not _is_special(path)


def discard(path: Path) -> None:
    """Remove what an earlier `write_text` left there, if that can be; a link to it stays."""
    if can_be_replaced(path):
        _target(path).unlink(missing_ok=True)


def as_json(content: Mapping[str, Any]) -> str:
    """A report as text."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write it as JSON, as `write_text` does."""
    write_text(as_json(content), path)


def write_text(text: str, path: Path) -> None:
    """Write a file; there is never half of it under that name. What is no regular file is written to as it is.

    :raises OSError: if it cannot be written; then nothing is left of it.
    """
    if (descriptor := _descriptor(path)) is not None:
        # Not opened anew: that would begin at the start of what it is redirected to, and sockets cannot be.
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
    elif _is_special(path):
        # Without O_CREAT, which the kernel refuses for another user's FIFO in a folder such as /tmp.
        with os.fdopen(os.open(path, os.O_WRONLY), "w", encoding="utf-8") as file:
            file.write(text)
    else:
        _replace(_target(path), text)


def _replace(target: Path, text: str) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _descriptor(path: Path) -> int | None:
    """The number of the open file that it stands for: /dev/stdout, or the /dev/fd/63 of a shell's ``>(command)``."""
    for _ in range(40):  # as many links as the system follows
        if not path.is_symlink():
            break
        if path.name.isdigit() and path.parent.resolve() == _DESCRIPTORS.resolve():
            return int(path.name)
        path = path.parent / path.readlink()
    return None


def _is_special(path: Path) -> bool:
    """Whether there is something there that is no regular file, such as a device or a FIFO.

    :raises OSError: if that cannot be told, as of a link that leads to itself.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return not path.is_file()


def _target(path: Path) -> Path:
    """The file itself, where the path is a link; it need not be there yet."""
    return Path(os.path.realpath(path))
