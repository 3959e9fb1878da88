"""A spec as it is written: what shows a guarantee, to be read by people."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any


@dataclass(frozen=True, slots=True)
class SpecSource:
    """Where a spec is, and its code.

    :param line: the line of its ``def``.
    :param code: the function without its decorators, and after it the helpers of the same file that it calls.
    """

    path: Path
    line: int
    name: str
    code: str


def spec_source(function: Callable[..., Any]) -> SpecSource:
    """Read the source of a spec."""
    code, line = _without_decorators(function)
    seen = {function.__name__}
    parts = [code, *_helpers(function, seen)]
    return SpecSource(Path(inspect.getfile(function)), line, function.__name__, "\n\n".join(parts))


def _without_decorators(function: Callable[..., Any]) -> tuple[str, int]:
    lines, first = inspect.getsourcelines(function)
    text = textwrap.dedent("".join(lines))
    [node] = ast.parse(text).body
    offset = node.lineno - 1
    return "\n".join(text.splitlines()[offset:]), first + offset


def _helpers(function: Callable[..., Any], seen: set[str]) -> list[str]:
    code = getattr(function, "__code__", None)
    around = getattr(function, "__globals__", {})
    found: list[str] = []
    for name in code.co_names if code else ():
        helper = around.get(name)
        if isinstance(helper, FunctionType) and helper.__module__ == function.__module__ and name not in seen:
            seen.add(name)
            found += [_without_decorators(helper)[0], *_helpers(helper, seen)]
    return found
