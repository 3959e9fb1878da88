"""What was collected: which tests are the specs of guarantees, what is wrong with them, and which are wanted."""

import difflib
import inspect
from collections.abc import Sequence
from typing import Any

import pytest

from workqueue.guarantee import proving, settings
from workqueue.guarantee.extra import missing_extra

#: What a stage has beside what its class tells.
_OF_EACH_STAGE = ("broker", "declared_at", "evidence", "history", "log_mark", "mutant", "queue_type")


def entry_of(item: pytest.Item) -> Any:
    """The guarantee that a test is the spec of, or None; without importing what guarantees are made of."""
    return getattr(getattr(item, "function", None), "workqueue_guarantee", None)


def queue_type_of(item: pytest.Function) -> str:
    """The queue type that a spec runs on."""
    return str(item.callspec.params["workqueue_queue_type"])


def give_what_specs_have(collected: object) -> None:
    """Let the spec of a guarantee have the fixtures without which nothing can be told of it, whatever it names."""
    if inspect.isfunction(collected) and hasattr(collected, "workqueue_guarantee"):
        pytest.mark.usefixtures("workqueue_spec")(collected)


def wrong_specs(items: Sequence[pytest.Item]) -> str:
    """What is wrong with the specs that were collected, with what to do about it; empty if nothing is."""
    seen: dict[str, pytest.Item] = {}
    for item in items:
        if (entry := entry_of(item)) is None:
            continue
        first = seen.setdefault(entry.slug, item)
        if entry_of(first) is not entry:  # else it is the same spec, with other parameters
            return (
                f"The slug {entry.slug!r} is used twice, by {_name(first)} and by {_name(item)}. "
                "It is the name of one guarantee: give one of them another."
            )
        if wrong := _wrong_spec(item, entry):
            return f"{_name(item)} cannot be the spec of {entry.slug!r}: {wrong}"
    return ""


def _wrong_spec(item: pytest.Item, entry: Any) -> str:
    if not hasattr(item, "callspec"):
        return (
            "pytest runs it once, as it does the methods of unittest.TestCase, and it would have to run for each "
            "broker and queue type. Write it as a function, or as a method of a class that inherits nothing."
        )
    if entry.across is None:
        return ""
    if missing := missing_extra():  # without which it cannot be told what a stage has
        return missing
    if getattr(item, "cls", None) is not None:
        return "it is declared with across=, and so cannot be a method. Write it as a function."
    return _wrong_parameters(item)


def _wrong_parameters(item: pytest.Item) -> str:
    on_stage = what_is_on_stage()
    for name in inspect.signature(getattr(item, "function").workqueue_generator).parameters:  # noqa: B009 - not typed
        if name not in on_stage:
            meant = name.removeprefix("workqueue_")
            close = [meant] if meant in on_stage else difflib.get_close_matches(meant, on_stage, 3)
            hint = f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(on_stage)}."
            return (
                f"it is declared with across=, so its parameters are no fixtures, but what its stage has, and that "
                f"has no {name!r}. {hint}"
            )
    return ""


def what_is_on_stage() -> list[str]:
    """What the parameters of a spec that is declared with ``across=`` can be."""
    from workqueue.guarantee.stage import Stage

    return sorted({*_OF_EACH_STAGE, *(name for name in dir(Stage) if not name.startswith("_"))})


def _name(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def is_wanted(item: pytest.Item, told: settings.Settings) -> bool:
    """Whether a test is to run: of what was chosen, and on a queue type that its guarantee speaks of."""
    entry = entry_of(item)
    if told.prove and not proving.is_proof(item):
        return False
    if entry is None:
        return not (told.slugs or told.chapters)
    if not set(entry.queue_types) & set(told.queue_types):
        return False  # pytest keeps a placeholder where there is no parameter
    return not (told.slugs or told.chapters) or entry.slug in told.slugs or entry.chapter in told.chapters
