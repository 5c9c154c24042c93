"""The rules of docs/architecture.md, kept by a machine: layers, packages, sizes, docstrings, late imports."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAME = "napari_mediround"
FOLDERS = {
    NAME: ROOT / "src" / NAME,
    f"{NAME}.resources": ROOT / "resources",
    f"{NAME}.training": ROOT / "training",
}

# A module imports only from layers above its own, or from its own.
LAYERS = (
    ("__init__", "errors", "files", "libraries", "resources", "settings", "weights"),
    ("domain",),
    ("questions",),
    ("io",),
    ("journal",),
    ("model",),
    ("inference",),
    ("adapted",),
    ("session",),
    ("training",),
    ("cli",),
    ("widget",),
)
EXCEPTIONS = {("training", "session"): "style.md: training uses everything above except session"}
HEAVY = {"torch", "transformers", "peft", "segment_anything", "safetensors", "accelerate"}
GUI = {"napari", "qtpy", "PyQt6", "PySide6", "magicgui", "superqt"}
WITHOUT = {
    "errors": HEAVY | GUI | {"numpy"},
    "libraries": HEAVY | GUI | {"numpy"},
    "files": HEAVY | GUI | {"numpy"},
    "settings": HEAVY | GUI | {"numpy", "pydantic"},
    "weights": HEAVY | GUI,
    "domain": HEAVY | GUI | {"scipy", "skimage", "SimpleITK", "pydicom", "PIL"},
    "questions": HEAVY | GUI | {"numpy", "scipy", "skimage", "SimpleITK", "pydicom", "PIL"},
    "io": HEAVY | GUI,
    "journal": HEAVY | GUI,
    "model": GUI,
    "inference": GUI,
    "session": HEAVY | GUI,
    "training": GUI,
    "cli": GUI - {"qtpy"},
}


def modules() -> list[tuple[str, Path]]:
    """Every module of the package: dotted name and file."""
    found = []
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found.append((".".join([package, *(p for p in parts if p != "__init__")]), path))
    return found


def layer_of(module: str) -> int:
    part = [*module.split("."), "__init__"][1]
    return next(i for i, names in enumerate(LAYERS) if part in names)


def imports_of(tree: ast.AST, late: bool = True) -> Iterator[str]:
    """Names of the modules that a tree imports; without `late`, only those at import time."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import of {node.module}"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == NAME)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_of(node, late) if late else ()
        elif late or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from imports_of(node, late)


MODULES = modules()
by_module = pytest.mark.parametrize(("module", "path"), MODULES, ids=[m for m, _ in MODULES])


@by_module
def test_a_module_imports_only_from_layers_above(module: str, path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    for other in imports_of(tree):
        if other.split(".")[0] != NAME or other == NAME or other == f"{NAME}.__version__":
            continue
        assert layer_of(other) <= layer_of(module), f"{module} imports {other} from a lower layer"
        pair = (module.split(".")[1], other.split(".")[1])
        assert pair not in EXCEPTIONS, EXCEPTIONS[pair]


@by_module
def test_a_layer_stays_free_of_what_it_must_not_know(module: str, path: Path) -> None:
    part = [*module.split("."), "errors"][1]
    roots = {name.split(".")[0] for name in imports_of(ast.parse(path.read_text("utf-8")), late=False)}
    assert not roots & WITHOUT.get(part, set())


LINES, PARAMETERS = 60, 7
LONGER = {
    "questions": (85, "one list of rules, tried in the order in which they stand; cut, the order is lost"),
    "session.session.Session.answer": (90, "mostly its docstring"),
    "io.export.export": (62, "mostly its docstring"),
    "io.export.measurement_report.write_measurement_report": (65, "one content tree, read top to bottom"),
    "io.volumes.volume.read_itk": (62, "mostly its docstring"),
}
"""Functions that may have more lines, by the beginning of their dotted name: how many, and why."""
WIDER = {
    "cli.app": (20, "typer: each option is a parameter"),
    "cli.ask.run_ask": (8, "hands on the options of a command"),
    "model.mediround.MediRound": (16, "the paper's figure: each part is given from outside"),
    "model.context.Context": (10, "the keys of a preset's section"),
    "widget.layers.fix_layer": (10, "what a layer shows and whom it tells"),
    "session.session.Session.answer": (8, "a question and how to ask it"),
}
"""Functions that may have more parameters: how many, and why."""


def allowed(name: str, usual: int, exceptions: dict[str, tuple[int, str]]) -> int:
    """How much a function may have, by its dotted name within the package."""
    return max([usual, *(most for start, (most, _) in exceptions.items() if name.startswith(start))])


@by_module
def test_a_file_and_its_functions_are_short(module: str, path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert len(path.read_text("utf-8").splitlines()) <= 400
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    owners = {child: f"{node.name}." for node in classes for child in node.body}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            name = f"{module.removeprefix(f'{NAME}.')}.{owners.get(node, '')}{node.name}"
            lines, given = node.end_lineno - node.lineno + 1, [*node.args.posonlyargs, *node.args.args]
            names = {arg.arg for arg in (*given, *node.args.kwonlyargs)} - {"self", "cls"}
            assert lines <= allowed(name, LINES, LONGER), f"{name} has {lines} lines"
            assert len(names) <= allowed(name, PARAMETERS, WIDER), f"{name} has {len(names)} parameters"


@by_module
def test_what_is_public_has_a_docstring(module: str, path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), f"{module} has no docstring"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for owner in (n for n in (tree, *tree.body) if isinstance(n, (ast.Module, ast.ClassDef))):
        for node in (n for n in owner.body if isinstance(n, kinds) and not n.name.startswith("_")):
            hidden = getattr(owner, "name", "").startswith("_")
            overload = any("setter" in ast.unparse(d) for d in node.decorator_list)
            assert hidden or overload or ast.get_docstring(node), f"{module}.{node.name} has no docstring"


@by_module
def test_nothing_prints_or_swallows(module: str, path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        is_print = isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
        assert not is_print or module.startswith(f"{NAME}.cli"), f"{module}:{node.lineno} prints"
        assert not isinstance(node, ast.Global), f"{module}:{node.lineno} uses global"
        if isinstance(node, ast.ExceptHandler) and not module.startswith(f"{NAME}.widget"):
            caught = "" if node.type is None else ast.unparse(node.type)
            assert caught not in ("", "Exception", "BaseException"), (
                f"{module}:{node.lineno} catches everything"
            )


def dependencies(path: Path, names: set[str]) -> set[str]:
    """Modules of `names` that a file imports at import time; of `from package import module` the module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.col_offset == 0:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in names else node.module for name in inner}
    return found & names


def test_no_module_imports_itself_through_others() -> None:
    names = {module for module, _ in MODULES}
    graph = {module: dependencies(path, names) - {module} for module, path in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


def test_no_two_modules_have_one_stem() -> None:
    stems = Counter(path.stem for _, path in MODULES if not path.stem.startswith("__"))
    assert [stem for stem, count in stems.items() if count > 1] == []


def test_a_folder_holds_no_more_than_twenty_modules() -> None:
    counts = Counter(path.parent for _, path in MODULES)
    assert {folder.name: count for folder, count in counts.items() if count > 20} == {}


def test_every_layer_exists() -> None:
    parts = {[*module.split("."), "__init__"][1] for module, _ in MODULES}
    named = {name for layer in LAYERS for name in layer}
    assert named == parts
    assert set(WITHOUT) <= parts


def test_setup_cfg_lists_exactly_the_folders_with_code() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    listed = setup["options"]["packages"].split()
    there = {m if p.name == "__init__.py" else m.rpartition(".")[0] for m, p in MODULES}
    assert sorted(listed) == sorted(there)


def test_every_folder_of_data_is_in_the_wheel() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    for package, folder in FOLDERS.items():
        patterns = setup["options.package_data"][package].split()
        packed = {p for pattern in patterns for p in folder.glob(pattern)}
        data = {p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".part")}
        assert data - packed == set()


def test_the_top_level_manifest_is_the_one_in_the_package() -> None:
    assert (ROOT / "napari.yaml").resolve() == FOLDERS[NAME] / "napari.yaml"


def test_napari_finds_the_plugin_without_importing_the_model() -> None:
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "from npe2 import PluginManifest\n"
        "manifest = PluginManifest.from_distribution('napari-mediround')\n"
        "modules = {(c.python_name or '').partition(':')[0] for c in manifest.contributions.commands or []}\n"
        "import napari_mediround\n"
        "print([m for m in ('torch', 'transformers', 'napari', 'peft') if m in sys.modules])\n"
        "[__import__(m) for m in modules if m]\n"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout.split() == ["[]", "[]"], done.stderr


def test_the_command_line_starts_without_the_model_or_numpy() -> None:
    code = (
        "import sys\nfrom napari_mediround.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'numpy', 'napari'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd="/")


THREADED = ("model", "inference", "weights", "widget", "training.learning")
LATE = ("transformers", "peft", "accelerate", "huggingface_hub")
OURS = tuple(f"{NAME}.{part}" for part in ("model", "inference", "training"))


@pytest.mark.parametrize(
    ("module", "path"), [(m, p) for m, p in MODULES if m.removeprefix(f"{NAME}.").startswith(THREADED)]
)
def test_what_a_thread_imports_late_takes_its_turn(module: str, path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.With)]
    turns = [block for block in blocks if "one_at_a_time" in ast.unparse(block.items[0])]
    in_turn = {node for turn in turns for node in ast.walk(turn)}
    own_process = module == f"{NAME}.weights.gguf"
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and not own_process):
        for node in (n for n in ast.walk(function) if isinstance(n, (ast.Import, ast.ImportFrom))):
            name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            large = name.split(".")[0] in LATE or (name.startswith(OURS) and module.split(".")[1] == "widget")
            assert not large or node in in_turn, f"{module}:{node.lineno} imports {name} out of turn"
