"""What a proxy in between costs: confirmed publishing, directly and through an honest proxy that hears every method.

    python bench/wire.py [--broker SPEC] [--messages N] [--repeats N]

Interleaved in one run, so that only the ratio counts.
"""

import argparse
import statistics
import time
from typing import Any

import pika

from workqueue.broker import resolve
from workqueue.guarantee.connections import Connection
from workqueue.wire.liar import Liar
from workqueue.wire.liars import Honest
from workqueue.wire.proxy import Proxy

WINDOW = 1000


def publish(url: str, messages: int) -> float:
    """Confirmed messages a second, 64 bytes each, at most `WINDOW` unconfirmed."""
    connection = Connection(url)
    channel = connection.open_channel()
    properties = pika.BasicProperties(delivery_mode=2)
    state = {"sent": 0, "confirmed": 0}

    def fill() -> None:
        while state["sent"] < messages and state["sent"] - state["confirmed"] < WINDOW:
            state["sent"] += 1
            channel.basic_publish("", "bench", b"x" * 64, properties)

    def confirmed(frame: Any) -> None:
        state["confirmed"] = frame.method.delivery_tag
        fill()

    connection.run(lambda: channel.confirm_delivery(confirmed, callback=lambda _: fill()))
    started = time.perf_counter()
    while state["confirmed"] < messages:
        time.sleep(0.005)
    spent = time.perf_counter() - started
    connection.close()
    return messages / spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="auto")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    source = resolve(options.broker)
    source.prepare()
    rates: dict[str, list[float]] = {}
    with source.start() as broker, pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        connection.channel().queue_declare("bench", durable=True)
        for _ in range(options.repeats):
            rates.setdefault("direct", []).append(publish(broker.url, options.messages))
            for name, liar in (("relayed", Liar()), ("heard", Honest())):
                with Proxy.to(broker.url, liar) as proxy:
                    rates.setdefault(name, []).append(publish(proxy.through(broker.url), options.messages))
            connection.channel().queue_purge("bench")
    direct = statistics.median(rates["direct"])
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"{name:8} {rate:9.0f} messages/s  {direct / rate:.2f} times as long")


if __name__ == "__main__":
    main()
