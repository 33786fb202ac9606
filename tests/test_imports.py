"""No circle of imports, at file level; import-linter holds the order of the folders."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "lowbitc.cli": ROOT / "cli",
    "lowbitc.compiler": ROOT / "compiler",
    "lowbitc.passes": ROOT / "passes",
    "lowbitc.targets": ROOT / "targets",
    "lowbitc.training": ROOT / "training",
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in (ROOT / "src" / "lowbitc").glob("*.py"):
        yield module_name("lowbitc", path.relative_to(ROOT / "src" / "lowbitc")), path
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            yield module_name(package, path.relative_to(folder)), path


def module_name(package: str, path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imported_names(path: Path) -> Iterator[str]:
    """Yield what a file imports, wherever in it: an import in a function can close a circle too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports() -> nx.DiGraph[str]:
    known = dict(modules())
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, path in known.items():
        graph.add_node(name)
        for imported in imported_names(path):
            # ``from package.module import thing`` names the thing; its module is what is imported.
            module = imported if imported in known else imported.rpartition(".")[0]
            if module in known and module != name:
                graph.add_edge(name, module)
    return graph


def test_no_file_imports_itself_through_others() -> None:
    circles = [sorted(c) for c in nx.strongly_connected_components(imports()) if len(c) > 1]
    assert not circles


def test_the_folders_that_hold_code_are_seen() -> None:
    names = set(imports())
    assert {"lowbitc.cli.main", "lowbitc.compiler.manager", "lowbitc.__main__"} <= names
    assert imports().has_edge("lowbitc.cli.main", "lowbitc.cli.lazy")
