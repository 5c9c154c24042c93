"""`mediround adapters`: what a project has learned: list, use, roll back, compare, merge, pass on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_mediround.cli.console import answer, make_table, results, say

adapters_app = typer.Typer(
    help="What a project learned from its corrections.", no_args_is_help=True, rich_markup_mode=None
)

Project = Annotated[Path, typer.Argument(help="The project folder.")]
Name = Annotated[str, typer.Argument(help="An adapter of the project: a001.")]


def _store(project: Path):
    from napari_mediround.cli.loading import require_path
    from napari_mediround.training.learning.adapter_store import AdapterStore

    return AdapterStore(require_path(project))


def _number(value: object, form: str = "{:+.3f}") -> str:
    return form.format(value) if isinstance(value, (int, float)) else "–"


@adapters_app.command("list")
def list_adapters(project: Project) -> None:
    """Show the adapters, what they gained on held-out patients, and which one is live."""
    store = _store(project)
    columns = ("Dice", "clicks saved", "learned from")
    table = make_table("", "adapter", "live", "wins", *columns, "made (UTC)", right=columns)
    live = store.live
    for name in store.names():
        card = store.card(name)
        gate = card.get("gate", {})
        wins = {True: "yes", False: "no", None: "not measured"}[gate.get("wins")]
        masks = str(sum(card.get("learned_from", {}).values()) or "–")
        numbers = (_number(gate.get("dice_gain")), _number(gate.get("clicks_saved"), "{:+.2f}"), masks)
        table.add_row(name, "live" if name == live else "", wins, *numbers, card.get("made", "")[:16])
    results().print(table)
    if not live:
        say("No adapter is live: the model answers as it came.")


@adapters_app.command()
def use(
    project: Project,
    name: Annotated[str, typer.Argument(help='An adapter of the project, or "none".')],
    reason: Annotated[
        str, typer.Option(help="Why, where it did not win by itself. Kept in the project.")
    ] = "",
) -> None:
    """Let an adapter be live; one that did not win needs a reason."""
    _store(project).use("" if name == "none" else name, reason)
    answer(f"live: {name}")


@adapters_app.command()
def rollback(project: Project) -> None:
    """Go back to what was live before."""
    answer(f"live: {_store(project).rollback() or 'none'}")


@adapters_app.command()
def compare(project: Project, first: Name, second: Name) -> None:
    """Show what both were measured at, and the difference."""
    from napari_mediround.training.learning.adapter_store import compare_cards

    store = _store(project)
    cards = [store.card(store.path(name).name) for name in (first, second)]
    table = make_table("", "measured", first, second, "difference", right=(first, second, "difference"))
    for what, one, other in compare_cards(*cards):
        both = one is not None and other is not None
        difference = _number(other - one) if both else "–"
        table.add_row(what, _number(one, "{:.3f}"), _number(other, "{:.3f}"), difference)
    results().print(table)


@adapters_app.command()
def merge(
    project: Project,
    names: Annotated[list[str], typer.Argument(help="Two adapters or more.")],
    share: Annotated[
        list[float] | None, typer.Option(help="Weight of each, in their order; without it all the same.")
    ] = None,
) -> None:
    """Make an adapter that is the weighted sum of several; it must be measured before it is used."""
    answer(_store(project).merge(names, share))


@adapters_app.command("export")
def export_adapter(
    project: Project, name: Name, folder: Annotated[Path, typer.Argument(help="A folder to be made.")]
) -> None:
    """Copy an adapter (safetensors and JSON, no patient data) to a folder, verified."""
    answer(_store(project).export(name, folder))


@adapters_app.command("import")
def import_adapter(
    project: Project, folder: Annotated[Path, typer.Argument(help="A folder made by export.")]
) -> None:
    """Take in an adapter from elsewhere, verified; it must be measured before it is used."""
    answer(_store(project).take_in(folder))


@adapters_app.command()
def measure(
    project: Project,
    name: Name,
    preset: Annotated[str, typer.Option(help="As of `mediround ask`.")] = "lite",
    device: Annotated[str, typer.Option(help="As of `mediround ask`.")] = "auto",
    weights_dir: Annotated[Path | None, typer.Option(help="As of `mediround ask`.")] = None,
) -> None:
    """Measure an adapter against the live one on the project's held-out patients."""
    from napari_mediround.cli.train import run_measure

    _store(project).path(name)
    run_measure(project, name, preset, device, weights_dir)
