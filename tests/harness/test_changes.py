"""A comparison as people read it: word by word, since a pull request or a change ticket is what remains of it."""

import io
import textwrap

import pytest
from rich.console import Console

from workqueue.guarantee.sources import Source
from workqueue.report import changes
from workqueue.report.comparison import Change, Comparison, Kind, Side

NOTE = Source("RabbitMQ 4.3.0 release notes", "https://example.org/4.3.0")


def a_change(kind, slug="a.b", before="holds", after="broken", *, queue_type="classic", hazard=False, **more):
    return Change(kind, slug, queue_type, "It holds.", hazard, before, after, **more)


def lost(slug="a.b", **more):
    return a_change(Kind.LOST, slug, **more)


def untold(slug="a.c", **more):
    return a_change(Kind.UNKNOWN, slug, after="unknown", **more)


def compared(*some, allowed=(), remarks=()):
    before, after = Side("debian:trixie", "4.0.5", {}), Side("debian:forky", "4.3.6", {})
    return Comparison(before, after, list(some), frozenset(allowed), remarks)


OF_EACH_KIND = compared(
    lost(documented=True, because="It is gone (RabbitMQ 4.3.0 release notes)", read=NOTE),
    lost(documented=True, because="It is gone (RabbitMQ 4.3.0 release notes)", read=NOTE, queue_type="quorum"),
    lost("a.surprise", reason="1 task\nwas lost"),
    lost("a.hazard", before="broken", after="holds", hazard=True),
    untold(reason="no worker started"),
    a_change(Kind.REMOVED, "a.old", after="-"),
    a_change(Kind.CHANGED, "a.other", before="broken", documented=True, because="It is late.", read=NOTE),
    a_change(Kind.GAINED, "a.new", before="broken", after="holds", documented=True, because="It was late."),
    a_change(Kind.ADDED, "a.added", before="-", after="holds"),
    a_change(Kind.SAME, "a.same", after="holds"),
    allowed=["a.hazard", "a.old", "a.gone"],
    remarks=["They were made by different versions."],
)


def shown(comparison):
    console = Console(record=True, width=40, file=io.StringIO(), force_terminal=True, color_system="standard")
    changes.show(comparison, console)
    return console


def test_on_a_terminal_the_worst_comes_first_and_lines_are_not_broken():
    expected = """\
        debian:trixie (4.0.5) → debian:forky (4.3.6)
        Note: They were made by different versions.

        Lost
          a.b classic, quorum holds → broken, as documented
              It holds.
              after: It is gone
              read RabbitMQ 4.3.0 release notes: https://example.org/4.3.0
          a.surprise classic holds → broken, not documented
              It holds.
              1 task was lost
          a.hazard classic broken → holds (a hazard), not documented, allowed
              It holds.

        Unknown: one side says nothing
          a.c classic holds → unknown
              It holds.
              no worker started

        Removed: checked before, not after
          a.old classic holds → -, allowed
              It holds.

        Changed as documented: broken on both, in different ways
          a.other classic broken → broken
              It holds.
              It is late.
              read RabbitMQ 4.3.0 release notes: https://example.org/4.3.0

        Gained
          a.new classic broken → holds, as documented
              It holds.
              before: It was late.

        Added: checked after, not before
          a.added classic - → holds
              It holds.

        10 compared: 4 lost (2 as documented), 1 unknown, 1 removed, 1 changed, 1 gained (1 as documented), 1 added, 1 the same
        Lost: a.b, a.surprise. Allowed to be lost, and not lost: a.gone. Remove the --allow. Nobody can say whether something was lost: a.c was not told.
        """  # noqa: E501 - as it is shown
    assert shown(OF_EACH_KIND).export_text() == textwrap.dedent(expected)


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("debian:trixie (4.0.5)", "1"),
        ("Lost", "1;31"),
        ("Unknown: one", "1;35"),
        ("Removed: checked", "35"),
        ("Changed as", "1"),
        ("Gained", "32"),
        ("Added: checked", "1"),
        ("10 compared:", "1"),
    ],
)
def test_titles_are_coloured_by_how_bad_it_is(text, style):
    assert f"\x1b[{style}m{text}" in shown(OF_EACH_KIND).export_text(styles=True)


def test_what_is_said_of_a_change_has_no_style_even_if_it_looks_like_markup():
    console = shown(compared(lost("a.b", reason="[red]12[/] tasks"), remarks=["[bold]12[/]"]))

    assert "\n      [red]12[/] tasks\n" in console.export_text(styles=True, clear=False)
    assert "\nNote: [bold]12[/]\n" in console.export_text(styles=True)


def test_as_markdown_it_is_a_page_with_a_table_for_each_kind():
    head = "| guarantee | queue type | before → after | what it says | why, and what to read |\n|---|---|---|---|---|"
    note = r"Read [RabbitMQ 4.3.0 release notes](<https://example.org/4.3.0>)."
    expected = f"""\
# Work-queue guarantees: RabbitMQ 4.0.5 → 4.3.6

**Lost: a.b, a.surprise. Allowed to be lost, and not lost: a.gone. Remove the --allow. Nobody can say whether something was lost: a.c was not told.**

Before: `debian:trixie`, 4.0.5.
After: `debian:forky`, 4.3.6.
10 compared: 4 lost (2 as documented), 1 unknown, 1 removed, 1 changed, 1 gained (1 as documented), 1 added, 1 the same.
Note: They were made by different versions.

## Lost

{head}
| `a.b` | classic, quorum | holds → broken, as documented | It holds. | after: It is gone {note} |
| `a.surprise` | classic | holds → broken, not documented | It holds. | 1 task was lost |
| `a.hazard` | classic | broken → holds \\(a hazard\\), not documented, allowed | It holds. |  |

## Unknown: one side says nothing

{head}
| `a.c` | classic | holds → unknown | It holds. | no worker started |

## Removed: checked before, not after

{head}
| `a.old` | classic | holds → -, allowed | It holds. |  |

## Changed as documented: broken on both, in different ways

{head}
| `a.other` | classic | broken → broken | It holds. | It is late. {note} |

## Gained

{head}
| `a.new` | classic | broken → holds, as documented | It holds. | before: It was late. |

## Added: checked after, not before

{head}
| `a.added` | classic | - → holds | It holds. |  |
"""  # noqa: E501 - as it is shown
    assert changes.to_markdown(OF_EACH_KIND) == expected


def test_kinds_of_which_there_are_none_are_left_out_and_what_comes_after_them_is_not():
    few = compared(untold(), a_change(Kind.ADDED, "a.new", before="-", after="holds"))

    text, page = shown(few).export_text(), changes.to_markdown(few)

    assert [title for title in ("Lost", "Unknown", "Removed", "Gained", "Added") if f"\n{title}" in text] == [
        "Unknown",
        "Added",
    ]
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## Unknown: one side says nothing",
        "## Added: checked after, not before",
    ]


def test_in_markdown_the_reason_follows_what_is_known():
    page = changes.to_markdown(compared(lost(because="It is gone.", reason="1 task was lost")))

    assert "| after: It is gone. 1 task was lost |\n" in page


def test_in_markdown_what_others_say_is_escaped():
    sides = Side("a|b", "4_0", {}), Side("c`d", "4*3", {})
    page = changes.to_markdown(
        Comparison(
            *sides,
            [lost("a_b", queue_type="x|y", reason="<b>*bold*</b>")],
            frozenset(["no_t"]),
            ["<i>"],
        )
    )

    assert page.startswith("# Work-queue guarantees: RabbitMQ 4\\_0 → 4\\*3\n\n**Lost: a\\_b. ")
    assert "Before: `a\\|b`, 4\\_0.\nAfter: ``c`d``, 4\\*3.\n" in page
    assert "Note: &lt;i&gt;\n" in page
    assert "| `a_b` | x\\|y | holds → broken, not documented | It holds. | &lt;b&gt;\\*bold\\*&lt;/b&gt; |\n" in page


@pytest.mark.parametrize(
    ("comparison", "says"),
    [
        (compared(), "Nothing was lost."),
        (compared(lost(), allowed=["a.b"]), "Nothing was lost but what is allowed: a.b."),
        (
            compared(lost("a.b"), lost("a.a"), allowed=["a.b", "a.a"]),
            "Nothing was lost but what is allowed: a.a, a.b.",
        ),
        (compared(lost()), "Lost: a.b."),
        (compared(lost(), lost(queue_type="quorum")), "Lost: a.b."),
        (
            compared(untold(), untold(queue_type="quorum")),
            "Nobody can say whether something was lost: a.c was not told.",
        ),
        (
            compared(untold(), untold("a.d")),
            "Nobody can say whether something was lost: a.c, a.d were not told.",
        ),
        (
            compared(allowed=["a.z", "a.y"]),
            "Allowed to be lost, and not lost: a.y, a.z. Remove the --allow.",
        ),
    ],
)
def test_the_conclusion_says_what_the_exit_code_says(comparison, says):
    assert changes.conclusion(comparison) == says


@pytest.mark.parametrize(
    "differs",
    [
        {"slug": "a.z"},
        {"before": "unknown"},
        {"after": "unknown"},
        {"documented": True},
        {"because": "it is gone"},
        {"reason": "1 task was lost"},
    ],
)
def test_changes_that_differ_in_more_than_the_queue_type_are_told_apart(differs):
    one, other = a_change(Kind.LOST), a_change(Kind.LOST, **{"slug": "a.b", "queue_type": "quorum"} | differs)

    text = shown(compared(one, other)).export_text()

    assert "classic, quorum" not in text
    assert " classic " in text
    assert " quorum " in text


def test_a_count_is_not_said_to_be_documented_if_none_is():
    assert changes.totals(compared(lost(), a_change(Kind.GAINED, "a.c"))) == "1 lost, 1 gained"
    assert changes.totals(compared(a_change(Kind.CHANGED, documented=True))) == "1 changed"
    assert changes.totals(compared()) == ""
