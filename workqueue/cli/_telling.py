"""What ``workqueue worker`` tells people: the tutorial's line on standard output, trouble on standard error."""

import threading

import click

from workqueue.cli._handler import say
from workqueue.events import Blocked, Connected, Disconnected, Event, Subscribed, TaskStarted
from workqueue.observe.hints import hint_for


class Telling:
    """An observer that tells when tasks can arrive, and of trouble with the connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._url = ""
        self._waiting = False
        self._trouble = False
        self._hints: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Tell of it, if it is of interest."""
        with self._lock:
            match event:
                case Connected(url):
                    self._url = url
                case Subscribed() | TaskStarted():  # a task may be there before the news that tasks can arrive
                    self._subscribed()
                case Disconnected():
                    self._disconnected(event)
                case Blocked(None):
                    click.echo("The broker reads from this connection again.", err=True)
                case Blocked(reason):
                    click.echo(f"Warning: the broker does not read from this connection: {reason}.", err=True)
                case _:
                    pass

    def _subscribed(self) -> None:
        if self._trouble:
            click.echo(f"Connected to {self._url}.", err=True)
        if not self._waiting:
            say(" [*] Waiting for messages. To exit press CTRL+C")
        self._trouble, self._waiting = False, True

    def _disconnected(self, event: Disconnected) -> None:
        if event.retry_in is None:
            return  # whoever runs the worker gets it as an exception
        self._trouble = True
        click.echo(f"Warning: {event.reason}; trying again in {event.retry_in:.1f} s.", err=True)
        hint = hint_for(event.reason)
        if hint is not None and hint not in self._hints:
            self._hints.add(hint)
            click.echo(f"Hint: {hint}", err=True)
