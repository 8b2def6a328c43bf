from __future__ import annotations

from matplotlib import pyplot

from eval.benchmark.plots import data_uri, roc_figure, score_figure, to_svg
from tests.eval.benchmark.test_report import report


def test_figures_are_deterministic_and_leave_pyplot_alone() -> None:
    pair = [report(), report("grid")]
    assert to_svg(roc_figure(pair)) == to_svg(roc_figure(pair))
    assert to_svg(score_figure(pair[0])) == to_svg(score_figure(pair[0]))
    assert pyplot.get_fignums() == []


def test_svg_has_real_text_in_the_colour_of_the_page() -> None:
    svg = to_svg(roc_figure([report("$x$_漢")]))
    assert svg.startswith("<svg")
    assert "$x$_漢" in svg
    assert "currentColor" in svg
    assert "<g id=" not in svg


def test_curves_differ_without_colour() -> None:
    figure = roc_figure([report(), report("grid"), report("leather"), report("wood")])
    lines = [line.get_linestyle() for line in figure.axes[0].lines if line.get_linewidth() > 1.7]
    assert len(set(lines)) == 4
    hatches = {patch.get_hatch() for patch in score_figure(report()).axes[0].patches}
    assert len(hatches) == 3


def test_data_uri_is_the_file_again() -> None:
    assert data_uri(b"\x00\xff", "image/png") == "data:image/png;base64,AP8="
