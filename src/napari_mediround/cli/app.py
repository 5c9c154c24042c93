"""The commands and their options, and nothing else: each hands over to a module that does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_mediround.cli.adapter_commands import adapters_app
from napari_mediround.cli.journal_commands import journal_app
from napari_mediround.cli.weights_commands import weights_app

app = typer.Typer(
    help="Ask for anatomy in words, round after round. Research software, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(adapters_app, name="adapters")
app.add_typer(journal_app, name="journal")
app.add_typer(weights_app, name="weights")

Preset = Annotated[str, typer.Option(help="lite, paper, tiny (random, for tests) or a preset file of yours.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Adapter = Annotated[
    Path | None,
    typer.Option(help="Folder of a learned adapter, or of trained weights instead of the bundled ones."),
]
WeightsDir = Annotated[Path | None, typer.Option(help="Folder of yours that is searched for weights first.")]


def _show_version(asked: bool) -> None:
    if asked:
        from napari_mediround import __version__
        from napari_mediround.cli.console import answer

        answer(f"mediround {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def ask(
    image: Annotated[Path, typer.Argument(help="DICOM file or folder, NIfTI, NRRD, MetaImage or picture.")],
    text: Annotated[str, typer.Argument(help='The first question: "the liver".')],
    then: Annotated[
        list[str] | None, typer.Option(help='A further round: "the vessel behind [1]". May be repeated.')
    ] = None,
    plane: Annotated[int | None, typer.Option(help="0-based plane; without it the middle one.")] = None,
    view: Annotated[
        str | None, typer.Option(help="axial, coronal or sagittal; without it as stored.")
    ] = None,
    series: Annotated[
        str | None, typer.Option(help="Number or UID of the series, for a folder with several.")
    ] = None,
    volume: Annotated[int | None, typer.Option(help="0-based volume of a 4-D image.")] = None,
    window: Annotated[str | None, typer.Option(help="CT window: a name (lung) or LEVEL,WIDTH in HU.")] = None,
    modality: Annotated[
        str | None, typer.Option(help="What to take the image for (CT, MR, …); without it as the file says.")
    ] = None,
    stack: Annotated[
        bool,
        typer.Option("--stack", "--carry", help="Propagate every mask through the stack, both ways."),
    ] = False,
    preset: Preset = "lite",
    device: Device = "auto",
    adapter: Adapter = None,
    weights_dir: WeightsDir = None,
    out: Annotated[Path | None, typer.Option(help="Label volume: .nii.gz, .nii, .nrrd or .mha.")] = None,
    png: Annotated[Path | None, typer.Option(help="Picture of the plane with the masks on it.")] = None,
    json: Annotated[Path | None, typer.Option(help="The rounds, as JSON.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    free_text: Annotated[
        bool,
        typer.Option(
            "--free-text", help="Let the language model answer what draws nothing, marked as unverified."
        ),
    ] = False,
) -> None:
    """Ask one image a dialogue of one or more rounds."""
    from napari_mediround.cli.ask import Outputs, choose_plane, require_questions, run_ask
    from napari_mediround.cli.loading import load_predictor, parse_window, read_image

    questions = require_questions([text, *(then or [])])
    chosen_window = parse_window(window)
    study = read_image(image, series, volume, view, modality)
    outputs = Outputs(*(path and path.expanduser() for path in (out, png, json)))
    outputs.refuse_loss(image, study, overwrite)
    chosen_plane = choose_plane(study, plane)
    predictor = load_predictor(preset, device, adapter, weights_dir)
    run_ask(predictor, study, questions, chosen_plane, chosen_window, outputs, stack, free_text)


@app.command()
def understand(
    text: Annotated[str | None, typer.Argument(help='The question: "Lt kidney, spleen + GB".')] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="JSON file with the masks so far, and modality and region of the image."),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="JSONL file with a text and a state a line; one answer a line.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a question is understood to ask for, without a model."""
    from napari_mediround.cli.understand import run_understand

    run_understand(text, state, corpus, json)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the picture, the label volume and the rounds.")
    ] = Path("demo"),
    preset: Preset = "lite",
    device: Device = "auto",
    weights_dir: WeightsDir = None,
) -> None:
    """Run a short dialogue on the bundled case and compare it with the labels that come with it."""
    from napari_mediround.cli.demo import run_demo

    run_demo(out, preset, device, weights_dir)


@app.command()
def evaluate(
    dataset: Annotated[
        Path, typer.Argument(help="Folder with set.json (or of such folders), or MR-MedSeg JSON.")
    ],
    json: Annotated[Path, typer.Option(help="Where the report goes.")],
    split: Annotated[str, typer.Option(help="Split to use in sets that have splits.")] = "val",
    min_px: Annotated[int, typer.Option(min=1, help="Masks with fewer pixels are left out.")] = 20,
    planes: Annotated[int, typer.Option(min=1, help="At most so many planes of each volume.")] = 3,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many cases of each set, evenly spaced.")
    ] = None,
    structures: Annotated[
        int | None, typer.Option(min=1, help="Ask for at most so many structures of a plane.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of questions on a plane.")] = 0,
    full: Annotated[
        bool,
        typer.Option(help="Dialogues, clicks, other wordings, absent structures and chat as well."),
    ] = False,
    dialogues: Annotated[int, typer.Option(min=0, help="Dialogues about each set, with --full.")] = 6,
    root: Annotated[
        Path | None, typer.Option(help="Folder that an MR-MedSeg file's paths start from.")
    ] = None,
    preset: Preset = "lite",
    device: Device = "auto",
    adapter: Adapter = None,
    weights_dir: WeightsDir = None,
) -> None:
    """Ask for every labelled structure in words, without box or click, and report the agreement."""
    from napari_mediround.cli.evaluate_command import require_split, run_evaluate
    from napari_mediround.cli.loading import load_predictor, require_path, require_writable

    require_split(require_path(dataset), split)
    require_writable(json.expanduser())
    predictor = load_predictor(preset, device, adapter, weights_dir)
    options = {"split": split, "min_px": min_px, "planes": planes, "limit": limit}
    options |= {"structures": structures, "seed": seed}
    run_evaluate(predictor, dataset, json, root, options, dialogues if full else None)


@app.command("export")
def export_masks(
    masks: Annotated[
        Path, typer.Argument(help="Label map with names beside it, .seg.nrrd, DICOM-SEG or RTSTRUCT.")
    ],
    image: Annotated[Path, typer.Argument(help="The image that the masks belong to.")],
    out: Annotated[
        Path, typer.Option(help="File to write: .nii.gz, .dcm, .seg.nrrd, .tif, .png or .csv (measurements).")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="nifti, dicom-seg, dicom-labelmap, seg-nrrd, rtstruct, dicom-sr, png, tiff or csv; "
            "without it as the name of the file says.",
        ),
    ] = "",
    series: Annotated[
        str | None, typer.Option(help="Number or UID of the series, for a folder with several.")
    ] = None,
    volume: Annotated[int | None, typer.Option(help="0-based volume of a 4-D image.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    deidentify: Annotated[
        bool,
        typer.Option("--deidentify", help="For exports that leave the site: DICOM PS3.15, basic profile."),
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(help="Secret for new UIDs, so that later exports fit earlier ones; made if not there."),
    ] = None,
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Also de-identified copies of the DICOM images.")
    ] = False,
    proposals: Annotated[
        bool,
        typer.Option("--include-proposals", help="Also export masks that were not accepted."),
    ] = False,
) -> None:
    """Write masks in another format, read the file back with another library and print the receipt."""
    from napari_mediround.cli.export_command import Wishes, run_export
    from napari_mediround.cli.loading import read_image, require_path

    require_path(masks)
    study = read_image(image, series, volume, None)
    wishes = Wishes(form, overwrite, deidentify, key_file, with_images, proposals)
    run_export(masks, image, study, out, wishes)


@app.command("import")
def import_masks(
    masks: Annotated[
        Path,
        typer.Argument(help="Label map, .seg.nrrd, DICOM-SEG, RTSTRUCT, or a MONAI Label folder."),
    ],
    image: Annotated[Path, typer.Argument(help="The image that the masks belong to.")],
    project: Annotated[Path, typer.Option(help="The project folder that the masks become rounds of.")],
    name: Annotated[
        list[str] | None,
        typer.Option(help='What a mask is: "3=left kidney"; "3=" leaves it out. May be repeated.'),
    ] = None,
    keep_names: Annotated[
        bool,
        typer.Option("--keep-names", help="Keep the file's own names where it is not clear what is meant."),
    ] = False,
    resample: Annotated[
        bool, typer.Option("--resample", help="Resample masks on another grid, by nearest neighbour.")
    ] = False,
    no_judge: Annotated[
        bool, typer.Option("--no-judge", help="Load no model, so that no mask is judged.")
    ] = False,
    series: Annotated[
        str | None, typer.Option(help="Number or UID of the series, for a folder with several.")
    ] = None,
    volume: Annotated[int | None, typer.Option(help="0-based volume of a 4-D image.")] = None,
    preset: Preset = "lite",
    device: Device = "auto",
    weights_dir: WeightsDir = None,
) -> None:
    """Take masks that are there already into a project, as rounds that a dialogue can point at."""
    from napari_mediround.cli.import_command import Doubts, run_import
    from napari_mediround.cli.loading import read_image, require_path

    require_path(masks)
    study = read_image(image, series, volume, None)
    doubts = Doubts(tuple(name or ()), keep_names, resample)
    run_import(masks, image, study, project, doubts, None if no_judge else (preset, device, weights_dir))


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe file (.toml), or the name of one that is bundled.")
    ] = None,
    project: Annotated[
        Path | None, typer.Option(help="Learn from the corrections of this project instead.")
    ] = None,
    preset: Preset = "lite",
    device: Device = "auto",
    weights_dir: WeightsDir = None,
) -> None:
    """Train as a recipe says, or learn from a project's corrections."""
    from napari_mediround.cli.train import run_learning, run_recipe

    if project is not None:
        run_learning(project, recipe, preset, device, weights_dir)
    else:
        run_recipe(recipe)


@app.command()
def effort(
    project: Annotated[Path, typer.Argument(help="The project folder.")],
    csv: Annotated[Path | None, typer.Option(help="A row for each round.")] = None,
    png: Annotated[Path | None, typer.Option(help="Seconds, clicks and voxels over the rounds.")] = None,
) -> None:
    """Say what annotating cost, over time and by adapter."""
    from napari_mediround.cli.train import run_effort

    run_effort(project, csv, png)


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing and what to do; exit code 1 when something must be done."""
    from napari_mediround.cli.doctor import run_doctor

    if not run_doctor():
        raise typer.Exit(1)
