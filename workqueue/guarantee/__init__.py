"""Executable guarantees: what a RabbitMQ work queue promises, each promise a spec with a verdict.

Specs are written with :func:`workqueue.guarantee.catalogue.guarantee` and run by pytest through
:mod:`workqueue.guarantee.plugin`, or by ``workqueue verify``.
"""
