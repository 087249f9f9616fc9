"""Where Snakemake takes long on a large cohort, and need not.

Snakemake 9.27 looks for groups that depend on themselves by walking from every job of every group
through all that it rests on. A model that is trained on the cohort stands before every subject's
last stages, so each of these walks visits the whole cohort: 62 processor seconds of a dry run of
1,000 subjects, a hundred times that of 10,000. One pass over the graph tells the same.

For each of these stages it also looks whether the model is an input of its own training, and
compares it with all inputs one by one. It works out the signature of every function of a rule again
for every job, and looks for wildcards in every text among its parameters.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from typing import Any

#: From this many inputs on, a job's are kept as a set beside their list.
MANY = 64


class Said(tuple[str]):
    """A parameter that is compared and told, but never part of a command: no wildcards in it.

    Snakemake keeps the ``repr`` of what is of a built-in type, and of nothing else.
    """

    def __new__(cls, text: str) -> Said:
        """Keep one text."""
        return super().__new__(cls, (text,))

    def __repr__(self) -> str:
        return repr(self[0])

    def __str__(self) -> str:
        return self[0]


def mend() -> None:
    """Give Snakemake the check in linear time and signatures that are looked up.

    A version without these functions stays as it is.
    """
    from snakemake import common, rules
    from snakemake.dag import DAG
    from snakemake.iocontainers import InputFiles

    InputFiles.__contains__ = _among

    plain = getattr(common, "get_function_params", None)
    if plain is not None and not hasattr(plain, "cache_info"):
        common.get_function_params = lru_cache(maxsize=4096)(plain)
        rules.get_function_params = common.get_function_params
    if hasattr(DAG, "validate_group") and hasattr(DAG, "_check_groups"):
        DAG.validate_group = _checked_together
        DAG._check_groups = _check_groups


def _among(inputs: Any, file: Any) -> bool:
    """Whether a file is among a job's inputs; many are looked up, not compared one by one."""
    if len(inputs) < MANY:
        return list.__contains__(inputs, file)
    known: tuple[int, frozenset[Any]] | None = vars(inputs).get("_looked_up")
    if known is None or known[0] != len(inputs):
        known = len(inputs), frozenset(inputs)
        vars(inputs)["_looked_up"] = known
    return file in known[1]


def _checked_together(dag: Any, group: Any) -> None:
    """Nothing: :func:`_check_groups`, which comes next, looks at all groups at once."""


def _check_groups(dag: Any) -> None:
    from snakemake.exceptions import WorkflowError

    found = entangled(dag._dependencies, dag._group)
    if found:
        jobs = [job for group in found for job in getattr(group, "jobs", [group])]
        names = ", ".join(sorted({job.rule.name for job in jobs}))
        raise WorkflowError(
            "A group of jobs depends on itself: one of its jobs rests on a job outside of it, and "
            f"that on one of the group again. Rules on the way: {names}"
        )


def entangled(
    dependencies: Mapping[Hashable, Iterable[Hashable]], groups: Mapping[Hashable, Hashable]
) -> list[Hashable]:
    """What can't be put in order when every group is one job.

    Args:
        dependencies: job → jobs that it rests on.
        groups: job → its group, of the jobs that have one.

    Returns:
        Groups and jobs on a circle, or that rest on one; empty when every group can run.
    """
    before: dict[Hashable, set[Hashable]] = {}
    after: dict[Hashable, list[Hashable]] = defaultdict(list)
    for job, rests_on in dependencies.items():
        node = groups.get(job, job)
        known = before.setdefault(node, set())
        for other in rests_on:
            earlier = groups.get(other, other)
            before.setdefault(earlier, set())
            if earlier is not node and earlier not in known:
                known.add(earlier)
                after[earlier].append(node)
    waiting = {node: len(earlier) for node, earlier in before.items()}
    ready = deque(node for node, count in waiting.items() if not count)
    while ready:
        node = ready.popleft()
        del waiting[node]
        for later in after[node]:
            waiting[later] -= 1
            if not waiting[later]:
                ready.append(later)
    return list(waiting)
