"""`import vecspect`: quick, lazy, and clear where another module hides one of its packages."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import vecspect

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "openvino", "streamlit", "numpy", "qdrant_client", "qdrant_edge", "PIL")


def run(code: str, folder: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    search = ":".join(map(str, (*path, ROOT)))
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": search, "PATH": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_loads_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, vecspect; print([name for name in {HEAVY} if name in sys.modules])"
    assert run(code, tmp_path).stdout == "[]\n"


def test_scoring_loads_neither_torch_nor_streamlit(tmp_path: Path) -> None:
    code = (
        "import sys, vecspect; vecspect.Inspector, vecspect.build_index, vecspect.open_store; "
        "print([name for name in ('torch', 'streamlit') if name in sys.modules])"
    )
    assert run(code, tmp_path).stdout == "[]\n"


@pytest.mark.parametrize("name", vecspect.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(vecspect, name).__doc__
    assert name in dir(vecspect)


def test_type_checkers_are_told_the_names_that_are_there() -> None:
    told = (ROOT / "vecspect.py").read_text("utf-8").partition("if TYPE_CHECKING:")[2]
    imported = [line.split() for line in told.splitlines() if line.startswith("    from ")]
    homes = {words[-1]: words[1] for words in imported if words[-1] in vecspect.__all__}
    assert homes == {n: m for m, names in vecspect._HOMES.items() for n in names}


def test_the_same_words_mean_the_same_everywhere() -> None:
    functions = [
        function
        for name in vecspect._HOMES["ui.functions"]
        if name != "benchmark"
        for function in [getattr(vecspect, name)]
    ]
    for function in functions:
        parameters = inspect.signature(function).parameters
        for word in ("category", "store", "backbone"):
            assert parameters[word].kind is inspect.Parameter.KEYWORD_ONLY, function.__name__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'index'"):
        vecspect.index  # noqa: B018


@pytest.mark.parametrize("name", ["search", "ui", "eval"])
@pytest.mark.parametrize("as_folder", [False, True], ids=["module", "package"])
def test_module_of_the_users_that_hides_a_package_is_named_in_one_line(
    name: str, as_folder: bool, tmp_path: Path
) -> None:
    hiding = tmp_path / name / "__init__.py" if as_folder else tmp_path / f"{name}.py"
    hiding.parent.mkdir(exist_ok=True)
    hiding.write_text("")
    expected = f"{hiding} hides vecspect's package '{name}': rename it, or move it elsewhere."
    used = run("import vecspect\nvecspect.Inspector", tmp_path, tmp_path)
    assert used.stderr.splitlines()[-1] == f"ImportError: {expected}"
    called = run("import vecspect\nvecspect.main()", tmp_path, tmp_path)
    assert (called.stderr, called.returncode) == (f"vecspect: {expected}\n", 1)


def test_folder_without_an_init_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    assert run("import vecspect\nvecspect.Inspector", tmp_path, tmp_path).returncode == 0
