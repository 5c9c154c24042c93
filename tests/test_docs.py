"""Documents that cannot go stale: commands, options, make targets and links are looked up."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from napari_mediround.questions import request

ROOT = Path(__file__).parent.parent
CLI = (ROOT / "docs/cli.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "training/README.md"]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
by_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[str(p.relative_to(ROOT)) for p in DOCUMENTS]
)


def commands() -> Iterator[tuple[str, object]]:
    """Every command with the words that call it: ("weights fetch", command)."""
    from napari_mediround.cli.app import app

    for name, command in typer.main.get_command(app).commands.items():
        if not hasattr(command, "commands"):
            yield name, command
        for inner, leaf in getattr(command, "commands", {}).items():
            yield f"{name} {inner}", leaf


def section_of(command: str) -> str:
    """Return the part of cli.md about a command."""
    title = f"## mediround {command.split()[0]}"
    assert title in CLI, f"docs/cli.md has no section {title!r}"
    return CLI.split(title, 1)[1].split("\n## ")[0]


def test_cli_md_names_every_command_and_option() -> None:
    for name, command in commands():
        section = section_of(name)
        assert name.split()[-1] in section or " " not in name, f"{name} is not in docs/cli.md"
        for parameter in command.params:
            for option in (o for o in parameter.opts if o.startswith("--") and o != "--help"):
                assert option in section, f"{option} of {name} is not in docs/cli.md"


def test_cli_md_names_no_option_that_is_gone() -> None:
    known = {o for _, command in commands() for p in command.params for o in p.opts} | {"--help", "--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", CLI)) <= known


@by_document
def test_a_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    named = re.findall(r"(?:`|^ {4})make ([a-z]+)", document.read_text("utf-8"), re.MULTILINE)
    assert set(named) <= targets


@by_document
def test_a_command_that_is_named_exists(document: Path) -> None:
    known = {name for name, _ in commands()} | {name.split()[0] for name, _ in commands()}
    for first, second in re.findall(
        r"(?:`|^ {4})mediround ([a-z]+)(?: ([a-z]+)\b)?", document.read_text("utf-8")
    ):
        assert first in known
        assert first != "weights" or not second or f"{first} {second}" in known


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    titles = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@by_document
def test_a_link_leads_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", document.read_text("utf-8")):
        place = document.parent / target if target else document
        assert place.exists(), f"{document.name} links to {target}, which is not there"
        assert not anchor or anchor in anchors_of(place), f"{document.name} links to {target}#{anchor}"


@by_document
def test_a_line_of_prose_fits_on_the_screen(document: Path) -> None:
    generated = r"<!-- measured .*?<!-- end -->"
    for line in re.sub(generated, "", document.read_text("utf-8"), flags=re.DOTALL).splitlines():
        assert len(line) <= 120 or line.startswith("|"), f"{document.name}: {line}"


@pytest.mark.parametrize("document", [ROOT / "docs/architecture.md", ROOT / "training/README.md"])
def test_a_file_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"`([\w/.]+\.(?:py|toml|yaml))`", document.read_text("utf-8"))
    files = [
        p
        for folder in ("src", "training", "resources", "tests", "docs")
        for p in (ROOT / folder).rglob("*.*")
    ]
    assert [name for name in named if not any(str(file).endswith(f"/{name}") for file in files)] == []
    assert len(named) > 10


def test_the_page_what_you_can_say_is_what_the_grammar_reads() -> None:
    page = runpy.run_path(str(ROOT / "docs/make_what_you_can_say.py"))
    assert (ROOT / "docs/what-you-can-say.md").read_text("utf-8") == page["make_page"]()
    read, parts = page["read"], page["read_parts"]()
    done = [step for p in parts for line in p["lines"] for step in read(line, p.get("masks", [])).all_steps]
    asked = {"ask_back", "refuse", "answer"}
    for part in parts:
        actions = {read(line, part.get("masks", [])).action for line in part["lines"]}
        assert actions <= asked if part["title"] == "What is not done" else not actions & asked, part["title"]
    for field, known in (
        ("operation", set(request.OPERATIONS) - {"between", "exchange"}),  # what checks offer, by a button
        ("measure", request.MEASURES),
        ("verdict", request.VERDICTS),
        ("export", request.FORMATS),
    ):
        assert set(known) <= {getattr(step, field) for step in done}, f"no example of every {field}"
