"""What was collected: which tests are the specs of guarantees, and which of them are wanted."""

from typing import Any

import pytest

from workqueue.guarantee import proving, settings


def entry_of(item: pytest.Item) -> Any:
    """The guarantee that a test is the spec of, or None; without importing what guarantees are made of."""
    return getattr(getattr(item, "function", None), "workqueue_guarantee", None)


def queue_type_of(item: pytest.Function) -> str:
    """The queue type that a spec runs on."""
    return str(item.callspec.params["workqueue_queue_type"])


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
