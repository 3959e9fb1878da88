"""How other commands reach the broker that `workqueue broker run` keeps, where the temporary folder is deep."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from workqueue.broker.errors import BrokerError
from workqueue.cli import _kept

BROKER = SimpleNamespace(
    spec="debian:trixie", url="amqp://u:secret@127.0.0.1:1", safe_url="amqp://u:***@127.0.0.1:1", ctl=lambda *args: args
)


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_is_reached_in_a_deep_folder(deep: Path) -> None:
    with _kept.keep(BROKER):
        [kept] = _kept.kept_brokers()
        assert kept.url == BROKER.url
        assert kept.ctl("list_queues", "name") == ["list_queues", "name"]
        assert list(deep.iterdir()) == [kept.folder]

    assert not _kept.kept_brokers()
    assert not list(deep.iterdir())


def test_where_a_path_has_to_be_short_an_error_says_what_to_do(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kept, "_DESCRIPTORS", Path("/nowhere"))  # a system without it

    with pytest.raises(BrokerError, match=r"AF_UNIX path too long.*\n?.*Set TMPDIR"), _kept.keep(BROKER):
        pytest.fail("it is kept")

    assert not list(deep.iterdir())
