"""`mediround journal`: list, verify, export and prove the journal of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_mediround.cli.console import answer, make_table, results, say, write_json

journal_app = typer.Typer(help="The record of a project: rounds, verdicts, undo.", no_args_is_help=True)

Project = Annotated[Path, typer.Argument(help="The project folder.")]


def _open(project: Path):
    from napari_mediround.journal import Journal

    return Journal.open_read_only(project)


@journal_app.command("list")
def list_journal(
    project: Project,
    case: Annotated[str | None, typer.Option(help="The events of one case; the start of its id.")] = None,
) -> None:
    """Show the cases, or the events of one."""
    with _open(project) as journal:
        if case is None:
            columns = ("case", "modality", "planes x rows x columns", "rounds", "verdicts", "last used (UTC)")
            table = make_table("", *columns, right=("rounds", "verdicts"))
            for info in journal.cases():
                size = " x ".join(str(n) for n in info.shape)
                counts = (str(info.rounds), str(info.verdicts))
                table.add_row(info.case, info.modality, size, *counts, info.last_utc[:16])
        else:
            from napari_mediround.journal.audit import audit_rows

            columns = ("seq", "utc", "event", "standing", "round", "label", "structure", "verdict", "text")
            table = make_table("", *columns, right=("seq", "round", "label"))
            for row in audit_rows(journal):
                if str(row["case"]).startswith(case):
                    table.add_row(*(str(row[name]) for name in columns))
        results().print(table)


@journal_app.command()
def verify(
    project: Project,
    head: Annotated[
        str | None, typer.Option(help="A hash noted earlier: must be in the chain, so that none was cut off.")
    ] = None,
) -> None:
    """Check every event and every mask; exit code 1 when one is not what was written."""
    from napari_mediround.errors import JournalError

    with _open(project) as journal:
        try:
            count, last = journal.verify()
            known = head is None or any(event.hash.startswith(head) for event in journal.events())
        except JournalError as error:
            answer(f"damaged – {error}")
            raise typer.Exit(1) from error
        lost = journal.lost_masks()
    if not known:
        answer(f"damaged – the chain does not contain {head}: events were removed or replaced")
        raise typer.Exit(1)
    answer(f"ok: {count} events, head {last}" + (f"; {lost} masks were lost in a recovery" if lost else ""))


@journal_app.command()
def export(
    project: Project,
    csv: Annotated[Path | None, typer.Option(help="One row a mask, for a spreadsheet.")] = None,
    json: Annotated[Path | None, typer.Option(help="Everything, masks as run lengths.")] = None,
    without_text: Annotated[
        bool,
        typer.Option("--without-text", help="Leave out what was typed, and replies, which may repeat it."),
    ] = False,
) -> None:
    """Write the journal to a file; images and paths are not in it."""
    from napari_mediround.errors import SettingsError
    from napari_mediround.journal.audit import COLUMNS, audit_rows, journal_to_dict

    if csv is None and json is None:
        raise SettingsError("Say what to write: --csv FILE, --json FILE, or both.")
    with _open(project) as journal:
        if csv is not None:
            write_csv(csv, COLUMNS, audit_rows(journal, not without_text))
            say(f"Wrote {csv}")
        if json is not None:
            say(f"Wrote {write_json(json, journal_to_dict(journal, not without_text))}")


@journal_app.command()
def prove(project: Project) -> None:
    """List every string that a person typed or the model said; exit code 1 when one is of unknown origin."""
    from collections import Counter

    from napari_mediround.journal.audit import find_words

    table = make_table("", "seq", "where", "from", "text", right=("seq",))
    counts: Counter[str] = Counter()
    with _open(project) as journal:
        for words in find_words(journal):
            counts[words.origin] += 1
            if words.origin != "software":
                table.add_row(str(words.seq), words.place, words.origin, words.text)
    results().print(table)
    answer(
        f"{counts['typed']} typed by a person, {counts['model']} said by the model, "
        f"{counts['unknown']} of unknown origin; all else is hashes, times, numbers and our own words."
    )
    if counts["unknown"]:
        raise typer.Exit(1)


def write_csv(path: Path, columns: tuple[str, ...], rows) -> None:
    """Write a table; a cell that a spreadsheet would take for a formula is quoted."""
    import csv

    from napari_mediround.io.tables import harmless

    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({key: harmless(value) for key, value in row.items()})
