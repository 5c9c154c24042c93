"""What anybody wrote is text on the terminal: no markup, no emoji, no control sequence, nothing cut."""

from __future__ import annotations

import ast
import io
import json
from pathlib import Path

import pytest
from fakes import FakeSegmenter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import STUDY, open_session
from rich.progress import Progress

from napari_mediround.cli import ask, console, evaluate_command, main
from napari_mediround.errors import printable

HOSTILE = (
    "the liver of [miller anna]",
    "[/b]",
    "[bold red]x[/]",
    "[link=http://a.b]x[/link]",
    ":warning: :skull:",
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "left\u202egnorw\u202c \u2066x\u2069 \u200b\ufeff",
    "one\ntwo\r\nthree\x0b\x0cfour\u2028five\x85six",
    "nul\0bell\a back\b del\x7f",
    "tag\U000e0041 wide 肝臓 é e\u0301",
    "a\\[b] \\x1b C:\\new",
    "x" * 500,
)
hostile = pytest.mark.parametrize("text", HOSTILE)
texts = st.text(st.characters(), min_size=1, max_size=60)


def harmless(output: str) -> bool:
    """Whether a terminal would show all of an output, line breaks of ours apart."""
    return all(c.isprintable() or c == "\n" for c in output)


def run(*words: object) -> int:
    """Run the command; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    return done.value.code or 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts)
def test_any_text_is_shown_whole_in_remarks_tables_results_and_errors(capsys, text):
    shown = printable(text)
    console.say(text)
    console.answer(text)
    table = console.make_table(text, "one", text, right=(text,))
    table.add_row(text, "2")
    console.results().print(table)
    out, err = capsys.readouterr()
    assert err == shown + "\n"
    assert out.startswith(shown + "\n")
    assert out.count(shown) >= 4
    assert harmless(out)


@hostile
def test_progress_and_what_is_being_done_take_any_text(text):
    stream = io.StringIO()
    shown = console.PlainConsole(file=stream, force_terminal=True, width=900, color_system=None)
    columns = (console.PlainColumn("{task.description}"), console.PlainColumn("{task.fields[more]}"))
    with Progress(*columns, console=shown) as bar:
        bar.add_task(text, total=1, more=text)
    assert printable(text)[:400] in stream.getvalue()
    with console.doing(text) as tell:
        tell(text)


def test_a_narrow_terminal_folds_and_cuts_nothing(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    table = console.make_table("", "text", "number", right=("number",))
    table.add_row("a" * 90, "1234567890123456789012345678901234567890")
    console.results().print(table)
    out = capsys.readouterr().out
    assert out.count("a") >= 90
    assert sum(c.isdigit() for c in out) == 40


@hostile
def test_the_journal_commands_show_what_was_typed(tmp_path, capsys, text):
    session = open_session(tmp_path / "project", "a" * 24)
    session.ask(text, 1)
    session.journal.close()
    for command in (("prove",), ("list",), ("list", "--case", "aa"), ("verify",)):
        assert run("journal", command[0], tmp_path / "project", *command[1:]) == 0
        out, err = capsys.readouterr()
        assert harmless(out + err)
        if command[0] == "prove" or len(command) > 1:
            assert printable(text) in out


@hostile
def test_a_dialogue_shows_questions_and_names_whatever_they_hold(tmp_path, capsys, text):
    outputs = ask.Outputs(tmp_path / "a.nii.gz", tmp_path / "a.png", tmp_path / "a.json")
    ask.run_ask(FakeSegmenter(), STUDY, [text], 1, None, outputs)
    out, err = capsys.readouterr()
    assert printable(text) in out
    assert harmless(out + err)
    assert json.loads(outputs.json.read_text("utf-8"))["rounds"][0]["text"] == text


@hostile
def test_reports_and_adapters_are_tables_of_text(tmp_path, capsys, text):
    row = {"n": 1, text: 0.5}
    evaluate_command.show_report({"summary": row, "per_round": {text: row}, "per_structure": {text: row}})
    out = capsys.readouterr().out
    assert out.count(printable(text)) >= 4
    assert harmless(out)
    card = {"made": text, "gate": {"wins": None, "words": text}, "learned_from": {}}
    folder = tmp_path / "adapters" / "a001"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    run("adapters", "list", tmp_path)
    out, err = capsys.readouterr()
    assert harmless(out + err)


@pytest.mark.parametrize("command", [
    ("ask", "{}", "the liver"), ("export", "{}", "x", "--out", "y.dcm"), ("journal", "prove", "{}"),
    ("journal", "list", "{}"), ("adapters", "list", "{}"), ("effort", "{}"), ("train", "{}"),
    ("evaluate", "{}", "--json", "x.json"), ("weights", "verify", "{}"), ("weights", "unbundle", "{}"),
    ("train", "--project", "{}"), ("ask", "x", "the liver", "--window", "{}"), ("{}",),
    ("adapters", "use", "{}", "{}"),
])  # fmt: skip
@hostile
def test_errors_name_any_path_in_one_line(tmp_path, monkeypatch, capsys, command, text):
    monkeypatch.chdir(tmp_path)
    text = text.replace("\0", "")[:200]
    assert run(*(word.replace("{}", text) for word in command)) == 2
    out, err = capsys.readouterr()
    assert harmless(out + err)
    last = err.rstrip("\n").rpartition("\n")[2]
    assert last.startswith("Error: ")


WRONG = (
    "--{}", "-{}", "{}", "ask --{}", "ask a b {}", "ask a b --plane {}", "ask a b --view", "journal {}",
    "journal show a --{}", "export --{} a b", "weights fetch --{}", "adapters {}",
)  # fmt: skip


@pytest.mark.parametrize("command", WRONG)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.sampled_from(HOSTILE) | texts)
def test_what_the_command_line_does_not_know_is_quoted_as_text(capsys, command, text):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([word.format(text) for word in command.split()])
    shown = capsys.readouterr()
    assert ended.value.code in (0, 2)  # 0: what was typed was an option such as --help
    assert ended.value.code == 0 or "rror:" in shown.err
    assert harmless(shown.out + shown.err)


def test_bytes_that_are_no_text_are_refused_or_shown(tmp_path, capsys):
    for text in ("the liver \udcff", "\ud800"):
        console.say(text)
        assert run("ask", tmp_path, text) == 2
        assert "no UTF-8 text" in capsys.readouterr().err
        console.write_json(tmp_path / "a.json", {text: text})
        assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {text: text}


def test_nothing_but_the_console_prints():
    folder = Path(console.__file__).parent
    allowed = {"__init__.py": {"print"}}
    for path in folder.glob("*.py"):
        if path.name == "console.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            last = name.rpartition(".")[2]
            if name.startswith("results()") or name == "console.print":
                continue
            assert last not in {"print", "echo", "Console", "status", "TextColumn", "Text", "secho"} - (
                allowed.get(path.name, set())
            ), f"{path.name}: {name}"
