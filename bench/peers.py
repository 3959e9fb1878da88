"""The core and its peers on one broker, in turns: throughput, latency, memory.

    python bench/peers.py --broker debian:forky --markdown peers.md --chart peers.svg --json peers.json
    python bench/peers.py --measure publish --only workqueue --only pika-blocking --repeats 1
    python bench/peers.py --measure million

measures:
  publish     messages/s, each confirmed (but for the contender that is marked as unconfirmed)
  consume     messages/s with manual acks and a no-op handler, from a queue that was filled beforehand
  roundtrip   one message at a time, from one process to the handler in another: median and p99
  memory      the peak of a process that publishes, and of one that consumes
  redelivery  SIGKILL of a worker that holds a task, until the handler of a waiting one gets it: median and worst
  million     a million tasks through one worker of the core: does its memory grow? (not by default)

The machine should have nothing else to do. The peers come with `pip install --group bench`; one that is not installed
is named as missing. Progress goes to stderr, the tables to stdout.

exit code: 0 if every target that was measured is met, 1 if one is not, 2 if a contender failed or it was interrupted
"""

import argparse
import sys
from pathlib import Path

from comparison.bench import Bench, Extent
from comparison.chart import draw
from comparison.document import describe, heading, save
from comparison.measures import DEFAULT, MEASURES
from comparison.model import Sample
from comparison.registry import CONTENDERS, versions
from comparison.schedule import run, turns
from comparison.summary import MAIN_FIGURE, Summary
from comparison.table import tables
from comparison.targets import judged, met

from workqueue.broker import Capability, NodeConfig, resolve

# Our own nodes look at their timers more often than others do, for the specs' sake. Here that would only disturb.
_DEFAULT_NODE = NodeConfig(advanced={})


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    extent = Extent()
    names = [each.name for each in CONTENDERS]
    parser.add_argument("--broker", default="auto", help="as for workqueue verify: auto, debian:forky, amqp://…")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"of: {', '.join(names)}")
    parser.add_argument("--measure", action="append", choices=list(MEASURES), help="default: all but million")
    parser.add_argument("--queue-type", action="append", choices=["classic", "quorum"], help="default: both")
    parser.add_argument("--size", action="append", type=int, metavar="BYTES", help="default: 64 and 4096")
    parser.add_argument(
        "--messages", type=int, default=extent.messages, help="a measurement; fewer for who confirms each (%(default)s)"
    )
    parser.add_argument("--remembered", type=int, default=extent.remembered, help="messages, for memory (%(default)s)")
    parser.add_argument("--rounds", type=int, default=extent.rounds, help="round trips a repeat (%(default)s)")
    parser.add_argument("--kills", type=int, default=extent.kills, help="for redelivery (%(default)s)")
    parser.add_argument("--tasks", type=int, default=extent.tasks, help="for million (%(default)s)")
    parser.add_argument("--timeout", type=float, default=extent.timeout, help="seconds to hear nothing (%(default)s)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="write a picture there: .svg or .png")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args()
    if options.chart and options.chart.suffix not in (".svg", ".png"):
        parser.error("a chart is a .svg or a .png")
    return options


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print."""
    options = parse()
    extent = Extent(
        messages=options.messages,
        remembered=options.remembered,
        rounds=options.rounds,
        kills=options.kills,
        tasks=options.tasks,
        timeout=options.timeout,
    )
    found = versions()
    chosen = [each for each in CONTENDERS if not options.only or each.name in options.only]
    for each in chosen:
        if found[each.distribution] is None:
            say(f"missing: {each.name} ({each.distribution} is not installed)")
    present = [each for each in chosen if found[each.distribution] is not None]
    plan = list(
        turns(
            options.measure or DEFAULT,
            present,
            options.queue_type or ["classic", "quorum"],
            options.size or [64, 4096],
            options.repeats,
        )
    )
    samples: list[Sample] = []

    def on_sample(number: int, sample: Sample) -> None:
        samples.append(sample)
        figure = MAIN_FIGURE[sample.measure]
        result = f"FAILED: {sample.error}" if sample.error else f"{figure} {sample.figures[figure]:,.2f}"
        say(f"[{number}/{len(plan)}] {sample.measure:10} {sample.setting!s:14} {sample.contender:20} {result}")

    source = resolve(options.broker)
    source.prepare(lambda message, _fraction=None: say(message))
    with source.start(_DEFAULT_NODE) as broker:
        described = describe(broker.about, extent, found)
        try:
            run(Bench(broker.url, Capability.KILL not in broker.capabilities, extent), plan, on_sample)
        except KeyboardInterrupt:
            say(f"interrupted after {len(samples)} of {len(plan)}; what follows is a part")
    code = report(options, described, samples)
    return code if len(samples) == len(plan) else 2


def report(options: argparse.Namespace, described: dict[str, object], samples: list[Sample]) -> int:
    """Print and write what was found."""
    summary = Summary(samples)
    head = heading(described, options.repeats)
    text = f"{head}\n\n{tables(summary, CONTENDERS)}"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    if options.json:
        save(options.json, described, samples)
    if options.chart:
        draw(summary, CONTENDERS, head.splitlines()[0], options.chart)
    if summary.failures():
        return 2
    answers = [met(target, ratio) for target, ratios in judged(summary) for ratio in ratios.values()]
    return 1 if False in answers else 0


if __name__ == "__main__":
    sys.exit(main())
