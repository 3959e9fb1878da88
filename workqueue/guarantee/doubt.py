"""What else than a broken promise can have made a spec fail: a broker that is gone.

A spec whose broker is gone fails in every way that there is, by deadlines that pass and values that are missing, and
what it then says of the guarantee would accuse the broker of something that it never had the chance to do.
"""

from workqueue.broker import Broker
from workqueue.guarantee.verdict import NotApplicable, Unknown, judge


class Doubted(Unknown):
    """A spec failed for a reason that says nothing of its guarantee. The message has that reason, and what it said."""


def doubted(error: BaseException, broker: Broker) -> BaseException:
    """What a spec's end says: the error that it ended with, or `Doubted` if that has another cause.

    Ask at once: by the next spec, the broker may be another one.

    :param error: what the spec or its set-up raised.
    :param broker: the one that it ran on. It is asked itself, whatever liar stands before it.
    """
    if not isinstance(error, Exception) or isinstance(error, NotApplicable | Doubted):
        return error
    why = broker.does_not_answer()
    if why is None:
        return error
    _, said = judge(error, in_call=True)
    doubt = Doubted(f"the broker does not answer any more: {why}. So nothing is known; the spec ended with: {said}")
    doubt.__cause__ = error
    return doubt
