"""Watching a producer or a worker: Prometheus metrics, structured logs, and a probe that an orchestrator can ask.

Each is in a module of its own, so that only what is used needs its extra: ``metrics`` ``[metrics]``, ``logs``
``[logs]``, ``probe`` and ``hints``, which says what to do about an error, none.
"""

from workqueue.events import Event, Observer


class Observers:
    """Several observers as one. Each hears of every event, also when another one fails."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def __call__(self, event: Event) -> None:
        """Tell all of them; raises an ExceptionGroup of what they raised."""
        errors = []
        for observer in self._observers:
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others have to hear of the event
                errors.append(error)
        if errors:
            raise ExceptionGroup("observers failed", errors)
