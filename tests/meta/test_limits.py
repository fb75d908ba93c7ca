"""A limit that nothing reads protects nothing."""

from __future__ import annotations

import ast

from stepwell import limits
from tests.meta.sources import modules_of_package


def test_every_limit_is_used():
    declared = {name for name in vars(limits) if name.isupper()}
    used = {
        name
        for module in modules_of_package()
        if module.name != "limits.py"
        for node in ast.walk(module.tree)
        for name in _names(node)
    }
    derived = {
        node.id
        for module in modules_of_package()
        if module.name == "limits.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }

    assert sorted(declared - used - derived) == []


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Name):
        return [node.id]
    return [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
