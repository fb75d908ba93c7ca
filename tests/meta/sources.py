"""The package as text: its modules, each parsed when it is first looked at, and what their names mean."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "stepwell"
TESTS = ROOT / "tests"


@dataclass(frozen=True)
class Module:
    """One Python file, named by its path below ``src/stepwell`` or ``tests``."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(), str(self.path))

    def imported(self) -> dict[str, str]:
        """Local name -> the dotted name it stands for, wherever in the file it is imported."""
        names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    names[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return names

    def uses(self) -> Iterator[tuple[str, ast.expr]]:
        """Every mention of something imported, as its full dotted name."""
        imported = self.imported()
        inner = {id(node.value) for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
                head, _, rest = _dotted(node).partition(".")
                if head in imported:
                    yield f"{imported[head]}.{rest}".rstrip("."), node

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Every call of something imported, as its full dotted name."""
        imported = self.imported()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                head, _, rest = _dotted(node.func).partition(".")
                yield f"{imported.get(head, head)}.{rest}".rstrip("."), node


@cache
def modules_of_package() -> tuple[Module, ...]:
    return _modules(PACKAGE)


@cache
def modules_of_tests() -> tuple[Module, ...]:
    return _modules(TESTS)


def _modules(folder: Path) -> tuple[Module, ...]:
    return tuple(
        Module(str(path.relative_to(folder)), path)
        for path in sorted(folder.rglob("*.py"))
        if "node_modules" not in path.parts
    )


def _dotted(node: ast.expr) -> str:
    """``a.b.c`` of names and attributes; what stands before a call or an index becomes ``?``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return "?"
