"""Who imports what: the core stands alone, is small, and costs nothing until it is used."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import workqueue

CORE = sorted(Path(workqueue.__file__).parent.glob("*.py"))
CEILING = 1328  # lines of code, without comments and docstrings
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


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


def lines_of_code(source):
    """How many lines there are, but for blank ones, comments and docstrings, of attributes too."""
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(code)


def test_what_is_no_code_is_not_counted():
    source = '''"""A module
of two lines."""

import os  # counted

LIMIT = 1
"""Of an attribute."""


def function():
    """Documented."""
    # A comment.
    text = """of
    two lines"""

    return os.fspath(
        text,
    )
'''

    assert lines_of_code(source) == 8
    assert lines_of_code("") == lines_of_code("# nothing\n") == lines_of_code("'a docstring'\n") == 0


def test_the_core_is_small():
    sizes = {path.name: lines_of_code(path.read_text()) for path in CORE}

    assert len(sizes) > 10
    assert sum(sizes.values()) <= CEILING, sizes
