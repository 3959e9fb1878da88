"""The project's own tests; the fixtures that they share with everybody's come from `workqueue.guarantee.plugin`."""

pytest_plugins = ["pytester"]
