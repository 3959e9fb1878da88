"""What brokers and tasks say as Markdown text, whatever is in it."""

import re

from workqueue.guarantee.sources import Source

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_ADDRESS = re.compile(r"https?://[^\s<>\"\\|`]+")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"})


def plain(text: str) -> str:
    """The text on one line, with control characters (which terminals obey) made visible."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in " ".join(text.split()))


def escape(text: str) -> str:
    """The text on one line, so that Markdown shows it as it is: no markup, no HTML, no new table cell."""
    return _SPECIAL.sub(r"\\\1", plain(text).translate(_ENTITIES))


def code(text: str) -> str:
    """The text as code, in a table too."""
    content = plain(text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", content)), default=0))
    padding = " " if content.startswith("`") or content.endswith("`") else ""
    return f"{fence}{padding}{content}{padding}{fence}"


def link(source: Source) -> str:
    """A source as a link, if its address is one of the web."""
    title = escape(source.title)
    return f"[{title}](<{source.url}>)" if _ADDRESS.fullmatch(source.url) else f"{title} ({code(source.url)})"
