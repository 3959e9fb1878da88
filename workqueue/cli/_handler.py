"""What ``workqueue worker`` does with a task: the function that it was told to call, or what the tutorial does."""

import contextlib
import functools
import importlib
import inspect
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import click

from workqueue.cli._printing import why
from workqueue.message import Message
from workqueue.worker import Handler, check_handler


def load_handler(spec: str) -> Handler:
    """Import what ``module:function`` names, from the current folder, too. Raises BadParameter, saying why not."""
    module, _, attribute = spec.partition(":")
    if not module or not attribute:
        raise _wrong(f"{spec!r} is not of the form package.module:function")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise _wrong(f"{module!r} cannot be imported: {type(error).__name__}: {error}{_place(error)}") from error
    try:
        named: Any = functools.reduce(getattr, attribute.split("."), found)
    except AttributeError as error:
        raise _wrong(f"{module!r} ({found.__file__}) has no {attribute!r}") from error
    try:
        check_handler(named)
    except TypeError as error:
        raise _wrong(f"{spec!r}: {error}") from error
    try:
        inspect.signature(named).bind(Message(b"", "queue"))
    except TypeError as error:
        raise _wrong(f"{spec!r} cannot be called with one argument, the message: {error}") from error
    except ValueError:
        pass  # written in C: what it takes cannot be known
    handler: Handler = named
    return handler


def _place(error: BaseException) -> str:
    """Where in somebody's code it went wrong."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    if isinstance(error, SyntaxError) or len(frames) < 2:  # only ours; and a SyntaxError says where
        return ""
    return f" ({frames[-1].filename}, line {frames[-1].lineno})"


def _wrong(problem: str) -> click.BadParameter:
    return click.BadParameter(problem, param_hint="--handler")


def dots(seconds: float, *, silent: bool) -> Handler:
    """The tutorial's handler: it takes so many seconds for each dot in a task, and says so unless it is silent."""

    def handle(message: Message) -> None:
        if not silent:
            say(f" [x] Received {message.body.decode('utf-8', 'surrogateescape')!r}")
        time.sleep(message.body.count(b".") * seconds)
        if not silent:
            say(" [x] Done")

    return handle


def say(line: str) -> None:
    """Print a line. If standard output takes no more, as when nobody reads it, the process says so and ends."""
    try:
        click.echo(line)
    except OSError as error:
        # That is no failure of the task, which would come back for ever: leave at once, from whatever thread, and it
        # goes to another worker.
        with contextlib.suppress(OSError):
            click.echo(
                f"Error: standard output cannot be written to: {why(error)}. So this worker ends, and the "
                "tasks that it has go to another one.",
                err=True,
            )
        os._exit(1)
