"""A dialogue on the command line: ask the rounds, show them, write what was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mediround.cli.console import answer, doing, make_table, results, say, write_json, writing
from napari_mediround.cli.loading import require_writable
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.judged import make_rows
from napari_mediround.domain.rounds import (
    LOW_QUALITY,
    MENTIONED_SHARE,
    Conversation,
    Reference,
    Round,
    Target,
)
from napari_mediround.domain.study import Study
from napari_mediround.domain.units import area_in_words
from napari_mediround.domain.windows import choose_window, render_plane
from napari_mediround.errors import MediRoundError, SettingsError
from napari_mediround.files import refuse_existing
from napari_mediround.io.labels import label_files, write_label_volume, write_overlay
from napari_mediround.journal.entries import StackBegun
from napari_mediround.session import Propagation, Segmenter, Session
from napari_mediround.session.commands import Done, Screen, follow

Window = str | tuple[float, float] | None


@dataclass(frozen=True)
class Outputs:
    """Where results go; None for what was not asked for."""

    labels: Path | None = None
    png: Path | None = None
    json: Path | None = None

    def refuse_loss(self, image: Path, study: Study, overwrite: bool) -> None:
        """Refuse to write over the image, over another output or, without `overwrite`, over any file.

        Refuse what cannot be written as well. To be called before the model runs: afterwards its answers
        would be lost.

        Raises
        ------
        SettingsError
            When a file is the image itself or would be written twice, the picture is no `.png`, or as
            `label_files` and `require_writable`.
        ExistingFileError
            When there is a file and `overwrite` is False.
        """
        labels = label_files(self.labels, study) if self.labels else ()
        files = [*labels, *filter(None, (self.png, self.json))]
        for file in files:
            if file.exists() and file.samefile(image):
                raise SettingsError(f"{file} is the image itself, which is kept. Choose another name.")
            if [other.resolve() for other in files].count(file.resolve()) > 1:
                raise SettingsError(
                    f"{file} would be written twice: a label volume has its names in a .json beside it. "
                    "Give each output a name of its own."
                )
        if self.png and self.png.suffix.lower() != ".png":
            raise SettingsError(f"{self.png.name}: the picture is written as .png. Choose such a name.")
        if not overwrite:
            refuse_existing(files)
        require_writable(*files)


def require_questions(texts: Sequence[str]) -> list[str]:
    """Return the questions when each says something.

    Raises
    ------
    SettingsError
        When not, or when it is no text; before any model is loaded.
    """
    for number, text in enumerate(texts, 1):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise SettingsError(f"Question {number} has bytes that are no UTF-8 text. Type it again.")
        if not text.strip():
            raise SettingsError(f'Question {number} is empty. Say what you want to see: "the liver".')
    return list(texts)


def choose_plane(study: Study, plane: int | None) -> int:
    """Return the plane asked for, or the middle one, and say which.

    Raises
    ------
    SettingsError
        When the study has no such plane; before any model is loaded.
    """
    last = study.planes - 1
    if plane is not None and not 0 <= plane <= last:
        raise SettingsError(f"There is no plane {plane}. Choose one of 0 to {last} with --plane.")
    if plane is None and last > 0:
        say(f"Plane: {study.planes // 2} of 0 to {last}, the middle one; choose another with --plane")
    return study.planes // 2 if plane is None else plane


def ask_rounds(
    session: Session, texts: Sequence[str], plane: int, window: Window, done: list[Done] | None = None
) -> None:
    """Do what every text asks for in turn, showing which one runs; `done` takes what was done.

    Raises
    ------
    MediRoundError
        What the round raised, with the round's number when there are several.
    """
    screen, done = Screen(plane, window), [] if done is None else done
    for number, text in enumerate(texts, 1):
        with doing(f"Round {number} of {len(texts)} …"):
            try:
                for step in follow(session, text, screen):
                    done.append(step)
                    if step.stack is not None:
                        propagate(session, step.stack)
            except MediRoundError as error:
                if len(texts) == 1:
                    raise
                raise MediRoundError(f"Round {number}: {error}") from error


def propagate(session: Session, plan: StackBegun) -> None:
    """Follow structures through the stack, and say how far each went."""
    run = Propagation.begin(session, plan)
    names = {number: f"[{number}] {session.label(number).structure}" for number in plan.numbers}
    whole = ", ".join(names.values())
    with doing(f"Propagating {whole} …") as show:
        while (found := run.find()) is not None:
            run.take(found)
            show(f"Propagating {whole}: plane {found.plane}, {run.done} of {run.steps} …")
    session.end_stack()
    for number, name in names.items():
        say(f"Propagated {name} {run.told(number)}. It stopped: {run.why(number)}.")


def propagate_all(session: Session, plane: int) -> None:
    """Follow every structure that has a mask through the stack."""
    masks = [mask for mask in session.conversation.masks() if mask.target.mask.area]
    numbers = tuple(dict.fromkeys(mask.number for mask in masks))
    if numbers and session.study.planes > 1:
        propagate(session, StackBegun(numbers, plane, 0, session.study.planes - 1))


def describe_references(round_: Round, conversation: Conversation) -> str:
    """Return what a round's references resolved to: "[1] liver"; empty without any."""
    return ", ".join(_name_mask(conversation, r) for r in round_.references)


def _name_mask(conversation: Conversation, reference: Reference) -> str:
    return f"[{conversation.number_of(reference)}] {conversation.target(reference).structure}"


def round_rows(session: Session, round_: Round) -> list[tuple[str, ...]]:
    """Return a round's table rows: one for each mask, one saying that there is none."""
    reference = describe_references(round_, session.conversation)
    head = (str(round_.index), round_.text, reference)
    rows = []
    found = [target for target in round_.targets if not _is_absent(round_, target)]
    for target in found:
        sure = target.quality
        marks = (" corrected" * target.corrected, " check" * (sure is not None and sure < LOW_QUALITY))
        quality = "–" if sure is None else f"{sure:.2f}{''.join(marks)}"
        rows.append((*head, target.structure, area_in_words(*session.area(target.mask)), quality))
        head = ("", "", "")
    for name in round_.answer.absent:
        rows.append((*head, f"{name}: not visible", "–", "–"))
        head = ("", "", "")
    rows = rows or [(*head, "no mask", "–", "–")]
    return [(*row, f"{round_.seconds:.1f}" if row[0] else "") for row in rows]


def _is_absent(round_: Round, target: Target) -> bool:
    return not target.mask.area and target.structure in round_.answer.absent


def show_rounds(session: Session, done: Sequence[Done] = ()) -> None:
    """Print the table of rounds, then the replies, what the user should know, and what was done."""
    columns = ("round", "text", "refers to", "structure", "area", "quality", "s")
    table = make_table("", *columns, right=("round", "area", "s"))
    asked = [round_ for round_ in session.conversation.rounds if not round_.carried]
    for round_ in asked:
        for row in round_rows(session, round_):
            table.add_row(*row)
    results().print(table)
    for round_ in asked:
        first, *more = round_.answer.text.split("\n")
        answer(f"{round_.index}: {first}", *(f"   {line}" for line in more if line))
        if round_.answer.note:
            answer(f"   {round_.answer.note}")
    for one in done:
        if one.round is None:
            answer(*(f"   {line}" for line in one.words.split("\n")))


def rounds_to_dict(session: Session, segmenter: Segmenter, plane: int) -> dict:
    """Return a conversation as JSON values; areas in px and mm², boxes half-open xyxy in display order."""
    rounds = []
    for round_ in session.conversation.rounds:
        targets = []
        for value, target in enumerate(round_.targets, session.first_label(round_.index)):
            if _is_absent(round_, target):
                continue
            area, unit = session.area(target.mask)
            targets.append(
                {
                    "structure": target.structure,
                    "label_value": session.label(value).drawn,
                    "area_px": target.mask.area,
                    "area_mm2": round(area, 3) if unit == "mm²" else None,
                    "box_xyxy": target.mask.box_xyxy,
                    "quality": None if target.quality is None else round(float(target.quality), 4),
                    "corrected": target.corrected,
                }
            )
        rounds.append(
            {
                "round": round_.index,
                "plane": round_.plane,
                "carried": round_.carried,
                "text": round_.text,
                "references": [
                    {"round": r.round, "target": r.target, "phrase": r.phrase} for r in round_.references
                ],
                "reply": round_.answer.text,
                "targets": targets,
                "absent": list(round_.answer.absent),
                "note": round_.answer.note,
                "seconds": round(round_.seconds, 3),
            }
        )
    return {"image": session.study.name, "plane": plane, "model": segmenter.describe(), "rounds": rounds}


def write_outputs(
    session: Session, segmenter: Segmenter, plane: int, window: Window, outputs: Outputs
) -> None:
    """Write the label volume, the picture and the JSON that were asked for, and say where."""
    if outputs.labels:
        labels, names = session.label_volume(), session.label_names()
        with writing(outputs.labels):
            write_label_volume(outputs.labels, labels, session.study, names, standing_of(session))
        for remark in describe_hidden(session):
            say(remark)
    if outputs.png:
        rounds = [round_ for round_ in session.conversation.rounds if not round_.carried]
        asked = (choose_window(session.study, r.text, window) for r in rounds)
        shown = next(filter(None, asked), window)
        targets = [t for r in rounds for t in r.targets]
        image = render_plane(session.study, plane, shown)
        names = list(session.label_names().values())
        with writing(outputs.png):
            write_overlay(outputs.png, image, [t.mask.to_array() for t in targets], names)
    if outputs.json:
        with writing(outputs.json):
            write_json(outputs.json, rounds_to_dict(session, segmenter, plane))


def standing_of(session: Session) -> dict[int, tuple[str, float | None]]:
    """Return verdict and quality of each label value, the lowest of its planes."""
    rows = make_rows(session.judged_masks())
    return {row.value: (row.verdict, row.quality) for row in rows}


def describe_hidden(session: Session) -> Iterator[str]:
    """Say how much of which masks the label volume does not show: where they overlap, the earlier stays."""
    volume, whole, shown = session.label_volume(), Counter(), Counter()
    for label in session.state.shown:
        whole[label.drawn] += label.mask.area
        shown[label.drawn] += int((volume[label.plane][label.mask.to_array()] == label.drawn).sum())
    names = session.label_names()
    for value in (value for value in whole if whole[value]):
        share = 1 - shown[value] / whole[value]
        why = "lies under earlier masks, which stay. Ask for it alone to have it whole."
        if not shown[value]:
            yield f"Nothing of {names[value]} is in the label volume: it {why}"
        elif share >= MENTIONED_SHARE:
            yield f"{share:.0%} of {names[value]} is not in the label volume: it {why}"


def run_ask(
    segmenter: Segmenter,
    study: Study,
    texts: Sequence[str],
    plane: int,
    window: Window,
    outputs: Outputs,
    stack: bool = False,
    free_text: bool = False,
) -> Session:
    """Ask a dialogue about one plane, print it, propagate its masks if told to, write the outputs.

    Rounds that were answered before something stopped the dialogue are printed and written all the same.

    Raises
    ------
    MediRoundError
        As `ask_rounds`, or when an output cannot be written.
    SystemExit
        With 130 when the user stops it.
    """
    session = Session(segmenter, study, load_anatomy(), free_text=free_text)
    try:
        _ask_and_show(session, texts, plane, window)
        if stack:
            propagate_all(session, plane)
    except KeyboardInterrupt:
        kept = "What was found is kept." if session.conversation.rounds else "No round was answered yet."
        say(f"Stopped. {kept}")
        raise SystemExit(130) from None
    finally:
        if session.conversation.rounds:
            write_outputs(session, segmenter, plane, window, outputs)
    return session


def _ask_and_show(session: Session, texts: Sequence[str], plane: int, window: Window) -> None:
    """Ask every question and print the rounds, also those before one that fails."""
    done: list[Done] = []
    finished = False
    try:
        ask_rounds(session, texts, plane, window, done)
        finished = True
    finally:
        answered = len(session.conversation)
        if answered:
            show_rounds(session, done)
        if answered and not finished:
            say(f"Kept: the first {answered} of {len(texts)} rounds.")
