"""`workqueue broker image`: a container image for machines that cannot pull one."""

import click

from workqueue.broker.errors import BrokerError
from workqueue.cli._output import output_has_to_arrive
from workqueue.cli._progress import progress_on_stderr


class _NotMade(click.ClickException):
    exit_code = 3


@click.command()
@click.option(
    "--release", default="trixie", show_default=True, metavar="RELEASE", help="Debian release to take it from."
)
@click.option("--tag", metavar="NAME", help="Name of the image.  [default: workqueue-rabbitmq:RELEASE-VERSION]")
@output_has_to_arrive()
def command(release: str, tag: str | None) -> None:
    """Make a container image from the RabbitMQ of a Debian release.

    For machines whose container engine cannot pull one. The packages are fetched with apt, or taken from the
    cache, and imported into the engine. Prints the image's name.

    \b
    Example:
      workqueue verify --broker container:$(workqueue broker image --release bookworm)

    \b
    Exit codes:
      0  it was made
      2  it was made, but standard output did not take its name
      3  wrong usage, no engine, or no such release
    """
    from workqueue.broker.image import make_image  # not for --help: slow to import

    try:
        with progress_on_stderr() as progress:
            name = make_image(release, tag=tag, progress=progress)
    except BrokerError as error:
        raise _NotMade(str(error)) from error
    click.echo(name)
