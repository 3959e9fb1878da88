"""What `tox -e oldest` tests with is what is permitted."""

import configparser
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_oldest_versions_that_are_permitted_are_those_that_are_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    permitted = dict(line.split(">=") for line in [*project["dependencies"], *extras["cli"], *extras["verify"][1:]])

    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    tested = dict(line.split("==") for line in tox["testenv:oldest"]["deps"].split())

    assert {name: _parts(version) for name, version in tested.items()} == {
        name: _parts(version) for name, version in permitted.items()
    }


def _parts(version):
    numbers = [int(number) for number in version.split(".")]
    return (*numbers, 0, 0)[:3]
