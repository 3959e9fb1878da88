"""The core with one classic mistake in it, to see that the specs notice.

``python -m workqueue.guarantee.mutants NAME MODULE ARGUMENTS…`` runs a module as ``python -m`` does, after the core
was changed in that process. Each time that the mistake is made, a line with the mutant's name is added to the file
that the environment names: a mutant that never came to make its mistake proves nothing.
"""

from workqueue.guarantee.mutants._mutant import MISTAKES_VARIABLE, Mutant
from workqueue.guarantee.mutants._producer import PRODUCERS
from workqueue.guarantee.mutants._settlement import SETTLEMENTS
from workqueue.guarantee.mutants._worker import WORKERS

__all__ = ["MISTAKES_VARIABLE", "MUTANTS", "Mutant"]

MUTANTS: dict[str, Mutant] = {mutant.name: mutant for mutant in (*SETTLEMENTS, *WORKERS, *PRODUCERS)}
"""All mutants by name."""
