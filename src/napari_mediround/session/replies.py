"""What is said to a question that draws nothing: fixed sentences without numbers. Knows no pixel."""

from __future__ import annotations

from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.words.lexicon import load_lexicon

NO_DIAGNOSIS = (
    "MediRound outlines what you name; it makes no diagnosis, writes no report and is no medical device. "
    "Name a structure to see its outline, or ask for the size of a mask."
)
NO_LIST = "Name what you want to see, one structure or several: “the liver and the spleen”."
HELP = (
    "Name one or more structures and I outline them on this plane: “the liver and the left kidney”. Point at "
    "a mask by its number: “what lies behind [1]”, “how large is [1]”. The user guide lists what you can say."
)
NOT_KNOWN = "I do not know {}. Nothing was drawn. Say the name of another structure, or draw a box around it."
NOT_HERE = "The {} cannot lie in what this image shows. Nothing was drawn."
NO_SIDE = "There is no other side of it. Nothing was drawn."
NOT_MEASURABLE = (
    "I cannot measure that. I can tell the area, the volume, the longest and the short axis, the mean, the "
    "distance, the count and the comparison of masks."
)
NOTHING_DRAWN = "Nothing was drawn{}. Name what you want to see."
NOT_POSSIBLE = "I cannot do that. Masks can be exported as DICOM-SEG, RTSTRUCT, NIfTI, NRRD and pictures."
NOT_UNDERSTOOD = "I did not understand that, and nothing was drawn. Name the structure that you want to see."
UNCERTAIN = (
    "I am not certain what to do with which mask, so nothing was changed. Say one change at a time, with the "
    "number of the mask: “grow [1] by 2 mm”."
)
INJECTION = "I only outline, measure and export what you name. Nothing was changed."
ACK = "Name the next structure that you want to see."
FOLLOWED = "I follow {} through the stack."
VIEW = "This image is shown as {} planes, so nothing was drawn. Choose the {} view, then ask again."
FIRST_ONLY = "Only the first step was done; say the others one by one."
NOT_DRAWN = "I do not know {}, so that was not drawn."
TAKEN = "I took this to mean {}, but I am not certain. If you meant something else, say its name."
UNVERIFIED = "Unverified text of the language model: it does not see the image."

_TOPICS = {
    "no_diagnosis": NO_DIAGNOSIS, "no_judgement": NO_DIAGNOSIS, "name_what_you_want": NO_LIST, "help": HELP,
    "no_other_side": NO_SIDE, "not_measurable": NOT_MEASURABLE, "not_possible": NOT_POSSIBLE,
    "injection": INJECTION, "ack": ACK, "nothing_asked": HELP,
    "not_understood": NOT_UNDERSTOOD,
    "no_such_view": "I cannot show such a view. Nothing was drawn.",
    "nothing_done": "Nothing was changed.", "too_long": "That is too long to read. Say it in fewer words.",
}  # fmt: skip
COMMAND = "Nothing was changed: that is something to do, not a question about the image."
"""Where a command reaches a session that only answers; `commands.follow` does it."""


def reply(request: Request) -> str:
    """Return the sentence for a request that draws nothing and measures nothing.

    Parameters
    ----------
    request : Request
        Of any action but segment and measure.
    """
    if request.action == "ask_back":
        return _ask_back(request)
    if request.action in ("verdict", "edit", "navigate", "export"):
        return COMMAND
    if request.topic == "unknown_structure":
        return NOT_KNOWN.format(join([f"“{w}”" for w in request.targets]) or "that")
    if request.topic == "not_in_image":
        return NOT_HERE.format(join([str(w) for w in request.targets]) or "structure")
    if request.topic == "nothing_drawn":
        ruled = join([f"the {w}" for w in request.excluded])
        return NOTHING_DRAWN.format(f": you ruled out {ruled}" if ruled else "")
    return _TOPICS.get(request.topic, NOT_UNDERSTOOD)


def _ask_back(request: Request) -> str:
    offered = [spoken(c) for c in request.choices if isinstance(c, Wanted)]
    if request.topic == "no_such_side" and offered:
        return f"I know no such side. Did you mean {join(offered, 'or')}? Nothing was drawn."
    if request.topic == "part" and offered:
        return f"I do not know that part. Do you want {join(offered, 'or')} as a whole? Nothing was drawn."
    if request.topic == "no_such_planes":
        return "I did not understand which planes you mean. Nothing was drawn. Say “slice 12”."
    if offered:
        return f"I am not certain what you mean. Did you mean {join(offered, 'or')}? Nothing was drawn."
    if request.topic == "amount":
        return "By how much? Say it in millimetres or millilitres. Nothing was changed."
    if request.topic == "format":
        return "In which format: DICOM-SEG, RTSTRUCT, NIfTI, NRRD or a picture? Nothing was exported."
    if request.topic == "wide":
        return "That would change many masks, so I did nothing. Name the masks by their numbers."
    if any(not isinstance(c, Wanted) for c in request.choices):
        return UNCERTAIN
    return NOT_UNDERSTOOD


def spoken(wanted: Wanted) -> str:
    """Return a target in words: "the left kidney", "both kidneys"."""
    lexicon = load_lexicon()
    if wanted.side == "both" and wanted.structure:
        plural = lexicon.anatomy[lexicon.name_of(wanted)].plural
        return f"the {plural or wanted.structure}"
    return f"the {wanted}"


def join(words, last: str = "and") -> str:
    """Return words as a list: "a, b and c"."""
    words = [str(w) for w in words]
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
