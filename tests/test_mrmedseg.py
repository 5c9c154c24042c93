"""MR-MedSeg JSON: what is written is read again, what leaves the folder is refused."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import mrmedseg
from napari_mediround.io.mrmedseg import MrDialogue, MrTurn, read_mrmedseg, write_mrmedseg

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]"), max_size=30)
PATHS = st.lists(
    st.from_regex(r"[a-zéß0-9_ ]{0,5}[a-z]", fullmatch=True).filter(str.strip), min_size=1, max_size=3
)
PATHS = PATHS.map(lambda parts: "/".join(p.strip() for p in parts) + ".png")


@st.composite
def dialogues(draw):
    turns = []
    for number in range(draw(st.integers(1, 4))):
        references = (
            st.lists(st.tuples(st.integers(0, number - 1), PATHS), max_size=2) if number else st.just([])
        )
        image = draw(PATHS) if number == 0 else ""
        targets = draw(st.lists(PATHS, max_size=3))
        turn = MrTurn.compose(
            draw(WORDS), draw(WORDS), image=image, references=draw(references), targets=targets
        )
        turns.append(turn)
    return MrDialogue(tuple(turns))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(dialogues(), max_size=3))
def test_what_is_written_is_read_again(tmp_path, written):
    file = write_mrmedseg(tmp_path / "dialogues.json", written)
    assert read_mrmedseg(file) == tuple(written)
    assert [p.name for p in tmp_path.iterdir()] == ["dialogues.json"]


def test_a_file_of_the_released_layout_is_understood(tmp_path):
    entry = {
        "task": "segmentation",
        "base": "[null]",
        "conversations": [
            {"from": "human", "value": "[IMAGE256:img/1.png] Segment the right atrium."},
            {"from": "gpt", "value": "The right atrium is [MASK-DECODE:m/1.png]."},
            {
                "from": "human",
                "value": "What gets blood from [MASK-ENCODE:m/1.png][BOX-ENCODE:m/1.png]?",
                "ind": 0,
            },
            {"from": "gpt", "value": "[REF-DECODE:m/1.png][MASK-DECODE:m/2.png]"},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps([entry]))
    (dialogue,) = read_mrmedseg(tmp_path / "a.json")
    first, second = dialogue.turns
    assert (first.text, first.paths(mrmedseg.IMAGE)) == ("Segment the right atrium.", ("img/1.png",))
    assert (second.ind, second.paths(mrmedseg.TARGET)) == ((0,), ("m/2.png",))
    assert second.paths(mrmedseg.MASK) == second.paths(mrmedseg.BOX) == ("m/1.png",)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x.png", "a/../../x.png", "C:/x.png", "a\\..\\x.png", " "]
)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, path):
    with pytest.raises(ValueError, match=r"path|folder"):
        MrTurn(f"[IMAGE256:{path}] hello", "")
    halves = [{"from": "human", "value": f"[IMAGE256:{path}]"}, {"from": "gpt", "value": ""}]
    (tmp_path / "a.json").write_text(json.dumps({"conversations": halves}))
    with pytest.raises(UnreadableFileError, match="dialogue 0"):
        read_mrmedseg(tmp_path / "a.json")


def test_a_link_that_leaves_the_folder_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "out").symlink_to(tmp_path)
    with pytest.raises(UnreadableFileError, match="leaves"):
        mrmedseg.locate(tmp_path / "data", "out/secret.png")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        '{"conversations": [{"from": "gpt", "value": ""}]}',
        '{"conversations": [{"from": "human", "value": 3}, {"from": "gpt", "value": ""}]}',
        '{"conversations": [{"from": "human", "value": "", "ind": 0}, {"from": "gpt", "value": ""}]}',
        '{"conversations": [{"from": "human", "value": "[IMAGE256:a.png"}, {"from": "gpt", "value": ""}]}',
        '{"conversations": [{"from": "human", "value": "[REF-DECODE:a.png]"}, {"from": "gpt", "value": ""}]}',
    ],
)
def test_a_damaged_file_is_named_and_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UnreadableFileError, match=r"a\.json"):
        read_mrmedseg(tmp_path / "a.json")
