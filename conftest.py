"""The project's own tests; the fixtures that they share with everybody's come from `workqueue.guarantee.plugin`."""

import contextlib
import signal

pytest_plugins = ["pytester"]

# A shell that runs us in the background has us ignore SIGINT, and so would all that we start; tests of CTRL+C need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

with contextlib.suppress(ImportError):  # the guarantees need no Hypothesis
    from hypothesis import settings

    # The same examples each time: that a test fails must be news of the change under test, and not of the dice. Nor may
    # a busy machine fail one. To look for what nobody has thought of yet: pytest --hypothesis-profile=search
    settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
    settings.register_profile("search", deadline=None, max_examples=2000, print_blob=True)
    settings.load_profile("repeatable")
