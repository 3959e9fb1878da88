"""The project's own tests; the fixtures that they share with everybody's come from `workqueue.guarantee.plugin`."""

import contextlib
import os
import signal

pytest_plugins = ["pytester"]

# Who runs us in the background, or by nohup, has us ignore these, and so would all that we start; tests send them.
for number, action in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, action)

# What commands print is compared as a pipe gets it, also where colours are wanted for the log of a pipeline.
for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
    os.environ.pop(name, None)

with contextlib.suppress(ImportError):  # the guarantees need no Hypothesis
    from hypothesis import settings

    # The same examples each time: that a test fails must be news of the change under test, and not of the dice. Nor may
    # a busy machine fail one. To look for what nobody has thought of yet: pytest --hypothesis-profile=search
    settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
    settings.register_profile("search", deadline=None, max_examples=2000, print_blob=True)
    settings.load_profile("repeatable")
