"""A program that is written and read back is the graph that was compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.ir.quantized import DEVICE_OPS
from lowbitc.targets.container import container_bytes, read_container
from lowbitc.targets.placement.mesh import Memory, Mesh
from lowbitc.targets.placement.place import place
from lowbitc.targets.program import HostStep, Launch, load_program
from lowbitc.targets.program.emit import emit
from tests.program.graphs import MESH, ORIGIN, every_operator, program, small_graph

if TYPE_CHECKING:
    from pathlib import Path

TIGHT = Mesh(4, 4, Memory(330, 24))
"""So little memory that layers are cut by channels, inputs and columns, over several passes."""


@pytest.mark.parametrize("mesh", [MESH, TIGHT])
def test_nodes_types_and_constants_come_back_from_the_binary(mesh: Mesh) -> None:
    graph = every_operator()
    read = program(graph, mesh)
    nodes = [node for launch in read.launches for node in launch.graph.nodes]
    assert nodes == [n for n in graph.nodes if n.name not in graph.host_reasons]
    for launch in read.launches:
        for name, array in launch.graph.constants.items():
            assert np.array_equal(array, graph.constants[name]), name
            assert array.dtype == graph.constants[name].dtype, name
        for name, held in launch.graph.types.items():
            assert held == graph.types[name] or name in graph.constants, name
    used = {v for n in graph.nodes for v in n.inputs if v in graph.constants}
    assert used == {v for launch in read.launches for v in launch.graph.constants}


def test_steps_alternate_as_the_regions_do() -> None:
    read = program(every_operator())
    assert [type(step) for step in read.steps] == [Launch, HostStep, Launch]
    (host,) = read.host_steps
    assert [(n.op, n.reason) for n in host.nodes] == [
        ("Softmax", "LB200: softmax stays on the CPU")
    ]
    assert host.together


def test_saving_what_was_loaded_gives_the_same_bytes(tmp_path: Path) -> None:
    first = program(every_operator())
    first.save(tmp_path / "a.lbc")
    load_program(tmp_path / "a.lbc").save(tmp_path / "b.lbc")
    assert (tmp_path / "a.lbc").read_bytes() == (tmp_path / "b.lbc").read_bytes()
    assert load_program(tmp_path / "b.lbc").digest == first.digest


def test_another_process_with_another_hash_seed_writes_the_same_bytes() -> None:
    code = (
        "from tests.program.graphs import *; import hashlib;print(program(every_operator()).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {program(every_operator()).digest + "\n"}


def test_placement_comes_back_with_routes_and_passes() -> None:
    graph = every_operator()
    placement = place(graph, TIGHT)
    assert program(graph, TIGHT).placement == placement
    assert len(placement.passes) > 1


def test_every_layer_with_weights_has_processors() -> None:
    read = program(every_operator())
    weighted = {n.name for n in read.launches[0].graph.nodes if "Conv" in n.op}
    assert weighted <= set(read.placement.of_layer())
    assert all(isinstance(n, DEVICE_OPS) for n in every_operator().nodes if n.name in weighted)


def test_options_target_and_names_are_in_the_manifest() -> None:
    read = program(small_graph())
    assert (read.target, read.target_revision, read.options) == ("lb1", "1", {"bits": "8/4/4"})
    assert [p.name for p in read.inputs] == ["x"]
    assert read.inputs[0].sample_shape == (3, 8, 8)
    assert read.outputs[0].shape == (1, 4)


def test_a_missing_file_is_a_coded_finding(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        load_program(tmp_path / "none.lbc")
    assert caught.value.diagnostics[0].code == "LB613"


def test_bytes_and_files_read_alike(tmp_path: Path) -> None:
    graph = small_graph()
    container = emit(graph, place(graph, MESH), ORIGIN)
    program(graph).save(tmp_path / "a.lbc")
    assert (tmp_path / "a.lbc").read_bytes() == container_bytes(container)
    assert read_container(container_bytes(container)).manifest == container.manifest
