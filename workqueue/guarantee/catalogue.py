"""The catalogue: every guarantee and hazard by its slug, with its text, source and expectation."""

import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workqueue.guarantee.expectation import QUEUE_TYPES, BrokenOn
from workqueue.guarantee.proof import Caught
from workqueue.guarantee.sources import Source

_SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\.[a-z0-9]+(?:-[a-z0-9]+)*")

#: What happens to the broker at the ``yield`` of a spec that was declared with ``across=``: a graceful restart, a
#: SIGKILL once the queues have been there for a while, or a SIGKILL a moment after they were declared.
ACROSS = ("restart", "kill", "kill-at-once")

#: What a spec can need of a broker; the names are those of :class:`workqueue.broker.Capability`.
NEEDS = ("restart", "kill", "ctl", "logs", "configure")


@dataclass(frozen=True, slots=True)
class Guarantee:
    """One promise (or hazard), as it stands in the catalogue.

    :param slug: immutable name, ``chapter.claim``; never reused.
    :param text: the user's sentence.
    :param source: who makes the promise.
    :param hazard: True for a counter-example: what goes wrong without the feature, shown to really go wrong.
    :param queue_types: the queue types that the sentence speaks of.
    :param broken_on: where it is known not to hold.
    :param needs: what a broker must be able to do for the spec to say anything.
    :param across: the fault at the spec's ``yield``, if it has one.
    :param counter_example: the slug of the hazard that shows what happens without the feature, if there is one.
    :param proved_by: what its spec was seen to catch.
    :param unproven: why there is nothing that it could catch, where there is not.
    """

    slug: str
    text: str
    source: Source
    hazard: bool = False
    queue_types: tuple[str, ...] = QUEUE_TYPES
    broken_on: tuple[BrokenOn, ...] = ()
    needs: tuple[str, ...] = ()
    across: str | None = None
    counter_example: str | None = None
    proved_by: tuple[Caught, ...] = ()
    unproven: str = ""

    def __post_init__(self) -> None:
        if not _SLUG.fullmatch(self.slug):
            raise ValueError(f"slug {self.slug!r} is not of the form chapter.what-is-claimed")
        if unknown := set(self.queue_types) - set(QUEUE_TYPES):
            raise ValueError(f"{self.slug}: unknown queue types {sorted(unknown)}")
        if unknown := set(self.needs) - set(NEEDS):
            raise ValueError(f"{self.slug}: unknown needs {sorted(unknown)}; known: {', '.join(NEEDS)}")
        if self.across is not None and self.across not in ACROSS:
            raise ValueError(f"{self.slug}: across={self.across!r}; known: {', '.join(ACROSS)}")
        if stray := {rule.queue_type for rule in self.broken_on} - set(self.queue_types):
            raise ValueError(f"{self.slug}: expects {sorted(stray)} to break, but does not run there")

    @property
    def chapter(self) -> str:
        """The part of the slug before the dot."""
        return self.slug.partition(".")[0]

    @property
    def kind(self) -> str:
        """``guarantee`` or ``hazard``."""
        return "hazard" if self.hazard else "guarantee"


def guarantee(
    slug: str,
    text: str,
    *,
    source: Source,
    queue_types: Sequence[str] = QUEUE_TYPES,
    broken_on: Sequence[BrokenOn] = (),
    needs: Sequence[str] = (),
    across: str | None = None,
    counter_example: str | None = None,
    proved_by: Sequence[Caught] = (),
    unproven: str = "",
    _hazard: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated pytest function as the spec of a guarantee.

    It runs once for each of the ``queue_types``, on a broker, whatever fixtures it names.

    With ``across``, the function is a generator: what comes before its ``yield`` is prepared, then the broker is
    restarted (``"restart"``) or killed with SIGKILL and started again (``"kill"``, ``"kill-at-once"``), once for
    all specs that wait for it, and then the rest runs. The parameters of such a spec are no fixtures, but attributes
    of its :class:`~workqueue.guarantee.stage.Stage`.
    """
    if across is not None:
        needs = (*needs, across.partition("-")[0])
    entry = Guarantee(
        slug,
        text,
        source,
        _hazard,
        tuple(queue_types),
        tuple(broken_on),
        tuple(needs),
        across,
        counter_example,
        tuple(proved_by),
        unproven,
    )

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        if across is None:
            spec = function
        elif inspect.isgeneratorfunction(function):
            spec = _run_across(function)
        else:
            raise TypeError(f"{slug}: across={across!r} needs a yield where the broker goes down")
        spec.workqueue_guarantee = entry  # type: ignore[attr-defined]  # functions take attributes
        return spec

    return declare


def _run_across(function: Callable[..., Any]) -> Callable[..., Any]:
    def spec(workqueue_across: Any) -> None:
        workqueue_across.finish()

    functools.update_wrapper(spec, function)
    # pytest would follow the wrapped function and take its parameters for fixtures.
    del spec.__wrapped__  # type: ignore[attr-defined]
    spec.__annotations__ = {}
    spec.workqueue_generator = function  # type: ignore[attr-defined]
    return spec


#: Declare the spec of a hazard: the same as :func:`guarantee`, for what goes wrong without a feature.
hazard = functools.partial(guarantee, _hazard=True)


def of(function: object) -> Guarantee | None:
    """The guarantee that a function is the spec of, if it is one."""
    found = getattr(function, "workqueue_guarantee", None)
    return found if isinstance(found, Guarantee) else None


class Catalogue(Mapping[str, Guarantee]):
    """All guarantees of a folder of specs, by slug, in the order of the files."""

    def __init__(self, entries: Sequence[Guarantee], specs: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self.specs = specs or {}
        """The functions that show the guarantees, by slug, as they were written."""
        self._entries: dict[str, Guarantee] = {}
        for entry in entries:
            if entry.slug in self._entries:
                raise ValueError(f"slug {entry.slug!r} is used twice")
            self._entries[entry.slug] = entry
        for entry in entries:
            if entry.counter_example is not None and entry.counter_example not in self._entries:
                raise ValueError(f"{entry.slug}: no hazard {entry.counter_example!r}")

    def __getitem__(self, slug: str) -> Guarantee:
        return self._entries[slug]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def chapters(self) -> tuple[str, ...]:
        """The chapters in order."""
        return tuple(dict.fromkeys(entry.chapter for entry in self._entries.values()))


def specs_folder() -> Path:
    """Where the specs are: in the installed package, or in the checkout that the package is run from.

    :raises FileNotFoundError: if neither has them.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "specs", package.parents[1] / "tests" / "guarantees"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"no specs beside {package}: the installation is incomplete; reinstall workqueue-guarantees"
    )


def load(folder: Path | None = None) -> Catalogue:
    """Read the catalogue from the spec files in a folder (those of this installation if none is given)."""
    entries: list[Guarantee] = []
    specs: dict[str, Callable[..., Any]] = {}
    for path in sorted((folder or specs_folder()).glob("test_*.py")):
        name = f"workqueue_specs_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot import {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        for value in vars(module).values():
            if (found := of(value)) is not None:
                entries.append(found)
                specs[found.slug] = getattr(value, "workqueue_generator", value)
    return Catalogue(entries, specs)
