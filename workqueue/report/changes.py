"""A comparison as people read it: on a terminal, and as Markdown for a pull request or a change ticket."""

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape as escape_markup

from workqueue.report import markdown
from workqueue.report.comparison import Change, Comparison, Kind
from workqueue.report.markdown import plain

_TITLES = {
    Kind.LOST: "Lost",
    Kind.UNKNOWN: "Unknown: one side says nothing",
    Kind.REMOVED: "Removed: checked before, not after",
    Kind.CHANGED: "Changed as documented: broken on both, in different ways",
    Kind.GAINED: "Gained",
    Kind.ADDED: "Added: checked after, not before",
}
_STYLES = {Kind.LOST: "bold red", Kind.UNKNOWN: "bold magenta", Kind.REMOVED: "magenta", Kind.GAINED: "green"}


def conclusion(comparison: Comparison) -> str:
    """The whole in a sentence or two, as its exit code says it."""
    sentences = []
    if comparison.lost:
        sentences.append(f"Lost: {_slugs(comparison.lost)}.")
    if comparison.stale:
        stale = ", ".join(comparison.stale)
        sentences.append(f"Allowed to be lost, and not lost: {stale}. Remove the --allow.")
    if comparison.untold:
        untold = _slugs(comparison.untold)
        sentences.append(f"Nobody can say whether something was lost: {untold} {_was(comparison.untold)} not told.")
    if sentences:
        return " ".join(sentences)
    allowed = ", ".join(sorted(comparison.allowed))
    return f"Nothing was lost but what is allowed: {allowed}." if allowed else "Nothing was lost."


def totals(comparison: Comparison) -> str:
    """How many changes there are of each kind."""
    parts = []
    for kind in Kind:
        changes = comparison.of(kind)
        documented = sum(change.documented for change in changes)
        note = f" ({documented} as documented)" if documented and kind in (Kind.LOST, Kind.GAINED) else ""
        if changes:
            parts.append(f"{len(changes)} {'the same' if kind is Kind.SAME else kind.value}{note}")
    return ", ".join(parts)


def show(comparison: Comparison, console: Console) -> None:
    """Print what changed, by kind."""
    before, after = comparison.before, comparison.after
    heading = plain(f"{before.broker} ({before.version}) → {after.broker} ({after.version})")
    _headline(console, f"[bold]{escape_markup(heading)}[/]")
    for remark in comparison.remarks:
        _line(console, f"Note: {remark}")
    for kind, title in _TITLES.items():
        if not (changes := comparison.of(kind)):
            continue
        _headline(console, f"\n[{_STYLES.get(kind, 'bold')}]{title}[/]")
        for change, queue_types in _by_queue_type(changes):
            _line(console, f"  {change.slug} {queue_types} {_step(change)}{_mark(change, comparison)}")
            for line in _details(change):
                _line(console, f"      {line}")
            if change.read is not None:
                _line(console, f"      read {change.read.title}: {change.read.url}")
    _headline(console, f"\n[bold]{len(comparison.changes)} compared:[/] {totals(comparison)}")
    _line(console, conclusion(comparison))


def _headline(console: Console, markup: str) -> None:
    console.print(markup, highlight=False, soft_wrap=True)


def _line(console: Console, text: str) -> None:
    indent = len(text) - len(text.lstrip(" "))
    console.print(" " * indent + plain(text), markup=False, highlight=False, soft_wrap=True)


def to_markdown(comparison: Comparison) -> str:
    """The same as a Markdown page."""
    return "\n".join(_page(comparison)) + "\n"


def _page(comparison: Comparison) -> Iterator[str]:
    before, after = comparison.before, comparison.after
    yield f"# Work-queue guarantees: RabbitMQ {markdown.escape(before.version)} → {markdown.escape(after.version)}"
    yield ""
    yield f"**{markdown.escape(conclusion(comparison))}**"
    yield ""
    yield f"Before: {markdown.code(before.broker)}, {markdown.escape(before.version)}."
    yield f"After: {markdown.code(after.broker)}, {markdown.escape(after.version)}."
    yield f"{len(comparison.changes)} compared: {totals(comparison)}."
    for remark in comparison.remarks:
        yield f"Note: {markdown.escape(remark)}"
    for kind, title in _TITLES.items():
        if not (changes := comparison.of(kind)):
            continue
        yield from ("", f"## {title}", "")
        yield "| guarantee | queue type | before → after | what it says | why, and what to read |"
        yield "|---|---|---|---|---|"
        for change, queue_types in _by_queue_type(changes):
            why = " ".join(markdown.escape(line) for line in _details(change)[1:])
            if change.read is not None:
                why = f"{why} Read {markdown.link(change.read)}."
            step = markdown.escape(_step(change) + _mark(change, comparison))
            text = markdown.escape(change.text)
            yield f"| {markdown.code(change.slug)} | {markdown.escape(queue_types)} | {step} | {text} | {why} |"


def _by_queue_type(changes: list[Change]) -> list[tuple[Change, str]]:
    """Changes that differ in nothing but the queue type are told once."""
    grouped: dict[tuple[object, ...], tuple[Change, list[str]]] = {}
    for change in changes:
        same = (change.slug, change.before, change.after, change.documented, change.because, change.reason)
        grouped.setdefault(same, (change, []))[1].append(change.queue_type)
    return [(change, ", ".join(queue_types)) for change, queue_types in grouped.values()]


def _step(change: Change) -> str:
    return f"{change.before} → {change.after}{' (a hazard)' if change.hazard else ''}"


def _mark(change: Change, comparison: Comparison) -> str:
    if change.kind not in (Kind.LOST, Kind.GAINED, Kind.UNKNOWN, Kind.REMOVED):
        return ""
    documented = {True: ", as documented", False: ", not documented"}[change.documented]
    allowed = ", allowed" if change.kind is not Kind.GAINED and change.slug in comparison.allowed else ""
    return (documented if change.kind in (Kind.LOST, Kind.GAINED) else "") + allowed


def _details(change: Change) -> list[str]:
    """The guarantee's text, and what is known of why."""
    because = change.because
    if because and change.read is not None:
        because = because.removesuffix(f" ({change.read.title})")
    if because and change.before != change.after:
        because = f"{'before' if change.before == 'broken' else 'after'}: {because}"
    return [change.text, *(line for line in (because, change.reason) if line)]


def _slugs(changes: list[Change]) -> str:
    return ", ".join(dict.fromkeys(change.slug for change in changes))


def _was(changes: list[Change]) -> str:
    return "was" if len({change.slug for change in changes}) == 1 else "were"
