"""The text of a sample program: its own file in `samples/`, with the functions that several of them share put in."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "samples"
SHARED = "shared"
PROGRAM = 'if __name__ == "__main__":'


def text(name: str) -> str:
    """A sample's program, complete: `from shared import …` is replaced by the functions and what they import."""
    own = (FOLDER / name).read_text(encoding="utf-8")
    wanted = [
        alias.name
        for node in ast.parse(own).body
        if isinstance(node, ast.ImportFrom) and node.module == SHARED
        for alias in node.names
    ]
    lines = [line for line in own.splitlines() if not line.startswith(f"from {SHARED} import ")]
    if not wanted:
        return own
    shared = (FOLDER / f"{SHARED}.py").read_text(encoding="utf-8")
    functions = _functions(shared, wanted)
    head, body = _parted(lines)
    imports = {line for line in head if line.startswith(("import ", "from "))} | _imports(shared, functions)
    first = next(i for i, line in enumerate(head) if line.startswith(("import ", "from ")))
    at = body.index(PROGRAM)
    parts = [*head[:first], *_sorted(imports), "", "", *body[:at], *"\n\n\n".join(functions).splitlines()]
    return "\n".join([*parts, "", "", *body[at:], ""])


def _parted(lines: list[str]) -> tuple[list[str], list[str]]:
    """The head with the imports, and what comes behind them."""
    last = max(i for i, line in enumerate(lines) if line.startswith(("import ", "from ")))
    rest = lines[last + 1 :]
    while rest and not rest[0]:
        rest = rest[1:]
    return lines[: last + 1], rest


def _functions(shared: str, wanted: list[str]) -> list[str]:
    """The source of the wanted functions and of those that they call, in the order of the shared file."""
    known = {node.name: node for node in ast.parse(shared).body if isinstance(node, ast.FunctionDef)}
    needed: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [n.id for n in ast.walk(known[name]) if isinstance(n, ast.Name) and n.id in known]
    return [ast.get_source_segment(shared, node) or "" for name, node in known.items() if name in needed]


def _imports(shared: str, functions: list[str]) -> set[str]:
    """The lines of imports that functions of the shared file need."""
    used = {node.id for each in functions for node in ast.walk(ast.parse(each)) if isinstance(node, ast.Name)}
    found = set()
    for node in ast.parse(shared).body:
        if isinstance(node, ast.Import):
            found |= {
                f"import {a.name}" + (f" as {a.asname}" if a.asname else "")
                for a in node.names
                if (a.asname or a.name).split(".")[0] in used
            }
        elif isinstance(node, ast.ImportFrom):
            names = sorted(a.name for a in node.names if a.name in used)
            found |= {f"from {node.module} import {', '.join(names)}"} if names else set()
    return found


def _sorted(imports: set[str]) -> list[str]:
    """Lines of imports as ruff orders them: the standard library's, a blank line, others."""

    def package(line: str) -> str:
        return line.split()[1].split(".")[0]

    ordered = sorted(imports, key=lambda line: (line.startswith("from "), line.split()[1].lower()))
    own = [line for line in ordered if package(line) in sys.stdlib_module_names]
    others = [line for line in ordered if package(line) not in sys.stdlib_module_names]
    return [*own, "", *others]
