"""The catalogue on a terminal: all of it in a list, or one guarantee explained."""

import textwrap
from collections.abc import Iterator

from workqueue.guarantee.catalogue import Catalogue, Guarantee
from workqueue.guarantee.mutants import MUTANTS
from workqueue.guarantee.spec_source import spec_source
from workqueue.report.measured import Measured
from workqueue.report.page import versions
from workqueue.wire.liars import LIARS

_ACROSS = {
    "restart": "at the `yield` the broker is restarted gracefully",
    "kill": "at the `yield` the broker is killed with SIGKILL and started again",
    "kill-at-once": "at the `yield`, a moment after the preparation, the broker is killed (SIGKILL) and started again",
}
_NEEDS = {
    "restart": "to restart the broker",
    "kill": "to kill the broker",
    "ctl": "rabbitmqctl",
    "logs": "the broker's log",
    "configure": "to configure the broker",
}


def listing(catalogue: Catalogue, width: int) -> str:
    """All guarantees by chapter, with their sentences."""
    lines: list[str] = []
    for chapter in catalogue.chapters:
        lines += ["", chapter] if lines else [chapter]
        for entry in catalogue.values():
            if entry.chapter == chapter:
                lines.append(f"  {entry.slug}{'  (hazard)' if entry.hazard else ''}")
                lines += _wrapped(entry.text, width, "      ")
    return "\n".join(lines)


def explain(entry: Guarantee, catalogue: Catalogue, measured: Measured, width: int) -> str:
    """What one guarantee says, who says so, where it holds, how that is tested, and what goes wrong without it."""
    lines = [f"{entry.slug}  ({entry.kind})", *_wrapped(entry.text, width, "  "), ""]
    if entry.hazard:
        lines += [*_wrapped("A hazard: where it holds, it does go wrong like this.", width, "  "), ""]
    lines += [f"Source: {entry.source.title}", f"  {entry.source.url}", ""]
    for queue_type in entry.queue_types:
        lines += _expectation(entry, queue_type, width)
        lines += _wrapped(f"measured: {_measured(entry, queue_type, measured)}", width, "  ")
    lines += ["", f"Needs: {', '.join(_NEEDS[need] for need in entry.needs) or 'only an AMQP connection'}"]
    lines += ["", *_how_tested(entry, catalogue, width)]
    lines += ["", *_proofs(entry, width)]
    lines += ["", *_without(entry, catalogue, width)]
    return "\n".join(lines).rstrip()


def _expectation(entry: Guarantee, queue_type: str, width: int) -> Iterator[str]:
    rules = [rule for rule in entry.broken_on if rule.queue_type == queue_type]
    if not rules:
        yield f"On {queue_type} queues: expected to hold in every version"
    for rule in rules:
        yield f"On {queue_type} queues: broken {versions(rule)}"
        yield from _wrapped(f"because {rule.because}", width, "  ")
        yield f"  read {rule.source.title}: {rule.source.url}"


def _measured(entry: Guarantee, queue_type: str, measured: Measured) -> str:
    found = measured.of(entry.slug, queue_type)
    told = [f"{measured.brokers[broker]['version']} {verdict}" for broker, verdict in found.items() if verdict]
    return f"{', '.join(told)} ({measured.finished[:10]})" if told else "not yet"


def _how_tested(entry: Guarantee, catalogue: Catalogue, width: int) -> Iterator[str]:
    if entry.slug not in catalogue.specs:
        return
    spec = spec_source(catalogue.specs[entry.slug])
    yield f"How it is tested: {spec.path}:{spec.line}"
    if entry.across is not None:
        yield from _wrapped(_ACROSS[entry.across], width, "  ")
    yield ""
    yield from textwrap.indent(spec.code, "    ").splitlines()


def _proofs(entry: Guarantee, width: int) -> Iterator[str]:
    if not entry.proved_by:
        yield from _wrapped(f"Unproven: {entry.unproven}", width, "")
        return
    yield "What its spec was seen to catch (`workqueue verify --prove`):"
    for each in entry.proved_by:
        where = f" on {each.on[0]} queues" if len(each.on) == 1 else ""
        versions = f" in RabbitMQ {each.versions}" if each.versions else ""
        yield from _wrapped(f"{each.by}{where}{versions}: {_does(each.by)}", width, "  ")


def _does(by: str) -> str:
    name = by.removeprefix("mutant:")
    return f"it {LIARS[name].does}" if name == by else MUTANTS[name].mistake


def _without(entry: Guarantee, catalogue: Catalogue, width: int) -> Iterator[str]:
    if entry.counter_example is not None:
        yield f"What goes wrong without it: {entry.counter_example}"
        yield from _wrapped(catalogue[entry.counter_example].text, width, "  ")
    shown_for = [other.slug for other in catalogue.values() if other.counter_example == entry.slug]
    if shown_for:
        yield "What prevents it:"
        yield from (f"  {slug}" for slug in shown_for)


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, max(width, 40), initial_indent=indent, subsequent_indent=indent, break_long_words=False)
