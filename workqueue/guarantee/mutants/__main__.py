"""Run a module with a mistake in the core: NAME MODULE ARGUMENTS…"""

import os
import runpy
import sys

from workqueue.guarantee.mutants import MISTAKES_VARIABLE, MUTANTS


def main() -> None:
    """Make the mistake, then be that module."""
    name, module, *arguments = sys.argv[1:]
    line = f"{name}\n".encode()
    path = os.environ[MISTAKES_VARIABLE]

    def made() -> None:
        # One write, so that a SIGKILL leaves no half line, and several processes may share the file.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, line)
        os.close(file)

    MUTANTS[name].apply(made)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


main()
