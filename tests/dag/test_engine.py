"""Groups that depend on themselves are found in one pass over the graph."""

from __future__ import annotations

import random

import pytest
import snakemake.cli  # noqa: F401 (its modules import each other and start well from here only)
from hypothesis import given
from hypothesis import strategies as st
from snakemake.iocontainers import InputFiles

from workflow.lib.engine import MANY, entangled, mend

CHAIN = {"a": [], "b": ["a"], "c": ["b"], "d": ["c", "a"]}


@pytest.mark.parametrize("count", [1, MANY - 1, MANY, 3 * MANY])
def test_a_file_among_the_inputs_of_a_job_is_found_also_after_they_changed(count: int) -> None:
    mend()
    inputs = InputFiles(toclone=[f"{number}.txt" for number in range(count)])
    assert all(f"{number}.txt" in inputs for number in range(count))
    assert f"{count}.txt" not in inputs
    inputs.append(f"{count}.txt")
    assert f"{count}.txt" in inputs


def test_a_chain_can_run_in_one_group_and_in_two() -> None:
    assert entangled(CHAIN, {}) == []
    assert entangled(CHAIN, dict.fromkeys(CHAIN, "g")) == []
    assert entangled(CHAIN, {"a": "g", "b": "g", "c": "h", "d": "h"}) == []


def test_a_job_between_two_of_a_group() -> None:
    assert set(entangled(CHAIN, {"a": "g", "c": "g"})) == {"g", "b", "d"}


def test_two_groups_that_wait_for_each_other() -> None:
    crossed = {"a": [], "b": ["a"], "c": [], "d": ["c"]}
    groups = {"a": "g", "d": "g", "b": "h", "c": "h"}
    assert set(entangled(crossed, groups)) == {"g", "h"}


@given(st.integers(0, 10**6))
def test_it_is_what_walking_from_every_group_finds(seed: int) -> None:
    draw = random.Random(seed)
    jobs = list(range(10))
    graph = {job: [other for other in range(job) if draw.random() < 0.3] for job in jobs}
    names = ("g", "h", "i")
    groups = {job: draw.choice(names) for job in jobs if draw.random() < 0.5}

    def node(job: int) -> object:
        return groups.get(job, job)

    contracted: dict[object, set[object]] = {node(job): set() for job in jobs}
    for job, others in graph.items():
        contracted[node(job)] |= {node(other) for other in others} - {node(job)}

    def reach(start: object) -> set[object]:
        seen: set[object] = set()
        todo = [start]
        while todo:
            for other in contracted[todo.pop()] - seen:
                seen.add(other)
                todo.append(other)
        return seen

    assert bool(entangled(graph, groups)) == any(one in reach(one) for one in contracted)
