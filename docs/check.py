"""Hold the documents to the code: `python docs/check.py`; with `--write` it renews docs/help.md first.

Checked: the help text, that every module stands in the architecture and every dependency in its page, that links and
pictures exist, that every option named in a document is one of the command line's, that every test, module and make
target named in docs/reliability.md is there, that the locks fit pyproject.toml, and the list of licences the locks.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click

from tellapart.cli import cli

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import licences
import locks

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
OF_OTHERS = {"--write", "--no-cov"}  # options that are neither the tool's nor a benchmark's


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, with its full name."""
    for each, command in group.commands.items():
        yield f"{name} {each}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {each}")


def help_page() -> str:
    """The help of every command as one Markdown page."""
    parts = ["# Every command\n", "Written by `python docs/check.py --write`; a check keeps it true.\n"]
    for name, command in [("tellapart", cli), *commands(cli, "tellapart")]:
        context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
        parts.append(f"## {name}\n\n```\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def problems() -> Iterator[str]:
    """A sentence for each place where a document and the code differ."""
    page = ROOT / "docs/help.md"
    if not page.exists() or page.read_text() != help_page():
        yield "docs/help.md is not what the commands say of themselves; run: python docs/check.py --write"

    architecture = (ROOT / "docs/architecture.md").read_text()
    package = ROOT / "src/tellapart"
    for module in sorted([*package.glob("[a-z]*.py"), *package.glob("[a-z]*/[a-z]*.py")]):
        name = ".".join(module.relative_to(package).with_suffix("").parts)
        if f"`{name}`" not in architecture:
            yield f"docs/architecture.md does not name the module {name}"

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = (ROOT / "docs/dependencies.md").read_text()
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(each for extra in extras for each in extra)]
    for requirement in wanted:
        name = re.split(r"[\s\[<>=;]", requirement)[0]
        if name != "tellapart" and f"`{name}" not in named:
            yield f"docs/dependencies.md does not name {name}"

    yield from locks.problems()
    yield from licences.problems()

    yield from unreliable()

    known = {"--help", "--version"}
    for script in ROOT.glob("benchmarks/**/*.py"):
        known |= set(re.findall(r"add_argument\(\s*\"(--[a-z-]+)\"", script.read_text()))
    for _, command in commands(cli, "tellapart"):
        known |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for document in DOCUMENTS:
        text = document.read_text()
        for target in re.findall(r"\]\(([^)#\s]+)\)|src=\"([^\"]+)\"", text):
            path = target[0] or target[1]
            if not re.match(r"https?:|mailto:", path) and not (document.parent / path).exists():
                yield f"{document.relative_to(ROOT)} points to {path}, which is not there"
        for option in sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - known - OF_OTHERS):
            yield f"{document.relative_to(ROOT)} names the option {option}, which no command has"


def unreliable() -> Iterator[str]:
    """A sentence for each name in docs/reliability.md that stands for nothing."""
    text = (ROOT / "docs/reliability.md").read_text()
    for file, test in sorted(set(re.findall(r"`(test_\w+)::(\w+)`", text))):
        path = ROOT / f"tests/{file}.py"
        if not path.exists() or not re.search(rf"^def {test}\(", path.read_text(), re.MULTILINE):
            yield f"docs/reliability.md names the test {file}::{test}, which is not there"
    for script in sorted(set(re.findall(r"`?(?:python )?((?:benchmarks|tools|tests)/\w+\.py)", text))):
        if not (ROOT / script).exists():
            yield f"docs/reliability.md names {script}, which is not there"
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in sorted(set(re.findall(r"`make ([a-z-]+)", text)) - set(targets)):
        yield f"docs/reliability.md names make {target}, which is not there"


def main() -> None:
    """Renew the help page if asked, then print every problem; status 1 where there is one."""
    if "--write" in sys.argv:
        (ROOT / "docs/help.md").write_text(help_page())
    found = list(problems())
    for problem in found:
        print(problem)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
