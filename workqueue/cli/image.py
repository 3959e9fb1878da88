"""`workqueue broker image`: a container image for machines that cannot pull one."""

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from workqueue.broker.errors import BrokerError


class _NotMade(click.ClickException):
    exit_code = 3


@click.command("image")
@click.option(
    "--release", default="trixie", show_default=True, metavar="RELEASE", help="Debian release to take it from."
)
@click.option("--tag", metavar="NAME", help="Name of the image.  [default: workqueue-rabbitmq:RELEASE-VERSION]")
def command(release: str, tag: str | None) -> None:
    """Make a container image from the RabbitMQ of a Debian release.

    For machines with a container engine that cannot pull an image. The packages are fetched with apt, or taken
    from the cache, and imported into the engine. Prints the image's name, for `--broker container:NAME`.
    """
    from workqueue.broker.image import make_image  # not for --help: slow to import

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def show(message: str, fraction: float | None = None) -> None:
            bar.update(task, description=message, total=None if fraction is None else 1.0, completed=fraction or 0)

        try:
            name = make_image(release, tag=tag, progress=show)
        except BrokerError as error:
            raise _NotMade(str(error)) from error
    click.echo(name)
