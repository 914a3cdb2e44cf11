"""The function that the demonstration maps over source files."""

from __future__ import annotations

import ast
import warnings


def measure(path: str) -> dict[str, object]:
    """Parse the Python source file at *path* and return figures of its syntax tree.

    The figures are counts, and ``depth`` is in levels of nodes. Raises OSError, and
    SyntaxError or ValueError for what is not Python source.
    """
    with open(path, "rb") as file, warnings.catch_warnings():
        # Source files that test the warnings are not what is measured here.
        warnings.simplefilter("ignore", SyntaxWarning)
        tree = ast.parse(file.read(), path)
    nodes = functions = classes = branches = depth = 0
    level: list[ast.AST] = [tree]
    while level:
        depth += 1
        nodes += len(level)
        below: list[ast.AST] = []
        for node in level:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                    functions += 1
                case ast.ClassDef():
                    classes += 1
                case ast.If() | ast.For() | ast.While() | ast.Try() | ast.Match():
                    branches += 1
            below.extend(ast.iter_child_nodes(node))
        level = below
    return {
        "nodes": nodes,
        "depth": depth,
        "functions": functions,
        "classes": classes,
        "branches": branches,
    }
