"""What to say of a slug that is not there."""

import difflib
from collections.abc import Iterable

import click


def no_such_slug(slug: str, known: Iterable[str]) -> click.UsageError:
    """The error of somebody who asks for a guarantee that there is not, with those that may be meant."""
    slugs = list(known)
    close = difflib.get_close_matches(slug, slugs, n=3, cutoff=0.4)
    chapters = dict.fromkeys(each.partition(".")[0] for each in slugs)
    help_ = f"Did you mean {' or '.join(close)}?" if close else f"The chapters: {', '.join(chapters)}."
    return click.UsageError(f"There is no guarantee {slug!r}. {help_}")
