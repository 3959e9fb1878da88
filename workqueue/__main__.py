"""``python -m workqueue``: the same as the command ``workqueue``."""

from workqueue.cli import main

main()
