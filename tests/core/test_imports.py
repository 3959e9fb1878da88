"""Who imports what: the core stands alone, and costs nothing until it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import workqueue

CORE = sorted(Path(workqueue.__file__).parent.glob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_only_the_io_module_knows_pika(path):
    users = {name for name in imports(path) if name.partition(".")[0] == "pika"}

    assert not users or path.name == "_io.py"


@pytest.mark.parametrize("path", [p for p in CORE if p.name != "__main__.py"], ids=lambda path: path.name)
def test_the_core_imports_no_subpackage(path):
    subpackages = {"broker", "cli", "guarantee", "observe", "report", "warden", "wire"}

    assert not {name for name in imports(path) if name.startswith("workqueue.") and name.split(".")[1] in subpackages}


def loaded_by(statement):
    script = f"import sys; {statement}; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_package_does_not_import_pika():
    assert not {"pika", "click", "ssl"} & loaded_by("import workqueue, workqueue.cli")


def test_using_a_name_does():
    assert "pika" in loaded_by("from workqueue import Producer")
