"""What Streamlit lacks: a picture whose patches can be clicked, a gallery, a frame without scripts.

Text reaches them as data and is set with `textContent`, so no file name or payload becomes HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import streamlit as st

from backbones.geometry import Box
from indexer.calibration.base import Verdict
from search.prediction import Prediction
from ui.app.images.pictures import data_uri, heat, picture

GLYPHS: dict[Verdict, str] = {"ok": "✓", "review": "▲", "reject": "✕"}
"""A verdict is told by its shape, its word and its colour, so that no one needs the colour."""


@dataclass(frozen=True, slots=True)
class Card:
    """One picture of a gallery; ``picture`` is a data URI, empty where the file cannot be shown."""

    id: str
    picture: str
    title: str
    lines: tuple[str, ...] = ()
    verdict: str = ""


_VIEWER_HTML = """
<div class="viewer">
  <div class="stage" tabindex="0" role="group">
    <img class="photo" alt=""><img class="heat" alt="">
    <svg class="marks" preserveAspectRatio="none"></svg>
  </div>
  <label class="bar"><span>Heat</span><input type="range" min="0" max="100" step="1">
    <output></output></label>
  <p class="hint">Click a patch to see what it was compared with, or use the arrow keys and
    Enter.</p>
</div>
"""

_VIEWER_CSS = """
.viewer { font-family: var(--st-font); color: var(--st-text-color); font-size: 0.9rem; }
.stage { position: relative; line-height: 0; cursor: crosshair; border-radius: 6px;
  overflow: hidden; outline-offset: 2px; }
.stage:focus-visible { outline: 3px solid var(--st-primary-color); }
.photo { width: 100%; display: block; }
.heat, .marks { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.marks rect { fill: none; vector-effect: non-scaling-stroke; }
.marks .edge { stroke: #fff; stroke-width: 4; } .marks .line { stroke: #00aeef; stroke-width: 2; }
.marks .cell { stroke: #fff; stroke-width: 2; fill: rgb(0 174 239 / 35%); }
.marks .hover { stroke: #fff; stroke-width: 1; stroke-dasharray: 3 2; }
.bar { display: flex; align-items: center; gap: 0.7rem; margin-top: 0.6rem; }
.bar input { flex: 1; accent-color: var(--st-primary-color); min-width: 4rem; }
.bar output { width: 3rem; text-align: right; font-variant-numeric: tabular-nums; }
.hint { opacity: 0.75; margin: 0.3rem 0 0; font-size: 0.8rem; line-height: 1.3; }
"""

_VIEWER_JS = """
const NS = "http://www.w3.org/2000/svg";
export default function ({ data, parentElement, setTriggerValue }) {
  const find = (name) => parentElement.querySelector(name);
  const stage = find(".stage"), heat = find(".heat"), marks = find(".marks");
  const slider = find("input"), output = find("output");
  find(".photo").src = data.picture;
  find(".photo").alt = data.label;
  stage.setAttribute("aria-label", data.label);
  heat.hidden = !data.heat;
  if (data.heat) heat.src = data.heat;
  find(".bar").hidden = !data.heat;
  find(".hint").hidden = !data.heat;
  if (!slider.dataset.ready) { slider.value = 70; slider.dataset.ready = "1"; }
  const fade = () => {
    heat.style.opacity = slider.value / 100;
    output.textContent = slider.value + " %";
  };
  slider.oninput = fade;
  fade();

  const { rows, cols, inset } = data, span = 1 - 2 * inset;
  marks.setAttribute("viewBox", "0 0 1 1");
  marks.replaceChildren();
  const draw = (x, y, width, height, kind) => {
    const rect = document.createElementNS(NS, "rect");
    const given = { x, y, width, height, class: kind };
    Object.entries(given).forEach(([name, value]) => rect.setAttribute(name, value));
    marks.append(rect);
    return rect;
  };
  for (const box of data.boxes) for (const kind of ["edge", "line"]) draw(...box, kind);
  const place = (row, col) =>
    [inset + (span * col) / cols, inset + (span * row) / rows, span / cols, span / rows];
  if (data.cell) draw(...place(...data.cell), "cell");
  const hover = draw(0, 0, 0, 0, "hover");
  let at = data.cell || [0, 0];
  const clamp = (value, count) => Math.min(count - 1, Math.max(0, value));
  const show = (row, col) => {
    at = [clamp(row, rows), clamp(col, cols)];
    ["x", "y", "width", "height"].forEach((k, i) => hover.setAttribute(k, place(...at)[i]));
  };
  const under = (event) => {
    const area = stage.getBoundingClientRect();
    show(Math.floor((((event.clientY - area.top) / area.height - inset) / span) * rows),
         Math.floor((((event.clientX - area.left) / area.width - inset) / span) * cols));
  };
  const choose = () => { if (data.heat) setTriggerValue("cell", at); };
  stage.onmousemove = under;
  stage.onclick = (event) => { under(event); choose(); };
  stage.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (step[event.key]) {
      show(at[0] + step[event.key][0], at[1] + step[event.key][1]);
      event.preventDefault();
    } else if (event.key === "Enter") choose();
  };
}
"""

_GALLERY_HTML = '<div class="gallery" role="list"></div>'

_GALLERY_CSS = """
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(var(--card), 1fr));
  gap: 0.7rem; font-family: var(--st-font); color: var(--st-text-color); padding: 3px; }
.card { position: relative; min-width: 0; }
button { all: unset; box-sizing: border-box; width: 100%; cursor: pointer; display: block;
  border: 1px solid var(--st-border-color); border-radius: 6px; overflow: hidden;
  background: var(--st-secondary-background-color); }
button:hover { border-color: var(--st-primary-color); }
button:focus-visible { outline: 3px solid var(--st-primary-color); }
.chosen button { outline: 3px solid var(--st-primary-color); }
img, .none { width: 100%; aspect-ratio: 1; object-fit: cover; display: block; }
.none { display: grid; place-items: center; font-size: 0.75rem; opacity: 0.7; }
.text { padding: 0.35rem 0.5rem 0.45rem; font-size: 0.8rem; line-height: 1.35; }
.text div { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.title { font-weight: 600; } .line { opacity: 0.8; }
.mark { position: absolute; top: 5px; left: 5px; padding: 0 0.4rem; border-radius: 4px; color: #fff;
  font-size: 0.75rem; line-height: 1.4rem; font-weight: 600; pointer-events: none; }
.ok { background: #15803d; } .review { background: #b45309; } .reject { background: #b91c1c; }
input { position: absolute; top: 7px; right: 7px; width: 1.15rem; height: 1.15rem; margin: 0;
  accent-color: var(--st-primary-color); cursor: pointer; }
"""

_GALLERY_JS = """
const GLYPHS = { ok: "✓ ok", review: "▲ review", reject: "✕ reject" };
export default function ({ data, parentElement, setTriggerValue, setStateValue }) {
  const gallery = parentElement.querySelector(".gallery");
  gallery.style.setProperty("--card", data.side + "px");
  gallery.setAttribute("aria-label", data.label);
  const picked = new Set(data.picked);
  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text) element.textContent = text;
    return element;
  };
  gallery.replaceChildren(...data.cards.map((card) => {
    const item = make("div", card.id === data.chosen ? "card chosen" : "card");
    item.setAttribute("role", "listitem");
    const button = make("button");
    button.type = "button";
    button.title = [card.title, ...card.lines].join("\\n");
    if (card.picture) {
      const image = make("img");
      image.src = card.picture;
      image.alt = "";
      button.append(image);
    } else button.append(make("span", "none", "no picture"));
    const text = make("div", "text");
    text.append(make("div", "title", card.title));
    card.lines.forEach((line) => text.append(make("div", "line", line)));
    button.append(text);
    button.onclick = () => setTriggerValue("chosen", card.id);
    item.append(button);
    if (card.verdict) item.append(make("span", "mark " + card.verdict, GLYPHS[card.verdict]));
    if (data.picking) {
      const box = make("input");
      box.type = "checkbox";
      box.checked = picked.has(card.id);
      box.setAttribute("aria-label", "pick " + card.title);
      box.onchange = () => {
        if (box.checked) picked.add(card.id); else picked.delete(card.id);
        setStateValue("picked", [...picked]);
      };
      item.append(box);
    }
    return item;
  }));
}
"""

_FRAME_JS = """
export default function ({ data, parentElement }) {
  parentElement.querySelector("iframe").srcdoc = data.page;
}
"""

_viewer = st.components.v2.component(
    "vecspect_viewer", html=_VIEWER_HTML, css=_VIEWER_CSS, js=_VIEWER_JS
)
_gallery = st.components.v2.component(
    "vecspect_gallery", html=_GALLERY_HTML, css=_GALLERY_CSS, js=_GALLERY_JS
)

_frame = st.components.v2.component(
    "vecspect_frame",
    html='<iframe sandbox title="report"></iframe>',
    css="iframe { width: 100%; height: 900px; border: 1px solid var(--st-border-color); }",
    js=_FRAME_JS,
)


def framed(page: str, *, key: str) -> None:
    """A page of HTML in a frame of its own, in which no script runs, whoever wrote it."""
    _frame(key=key, data={"page": page})


def viewer(
    prediction: Prediction, boxes: Sequence[Box], cell: tuple[int, int] | None, *, key: str
) -> tuple[int, int] | None:
    """The image under its heat; the (row, column) of a patch just chosen.

    The heat's slider lives in the browser: moving it asks nothing of the server.
    """
    rows, cols = prediction.distances.shape
    width, height = prediction.width, prediction.height
    patches = prediction.distances.size > 1
    result = _viewer(
        key=key,
        data={
            "picture": data_uri(picture(prediction.path)),
            "heat": data_uri(heat(prediction)) if patches else None,
            "rows": rows,
            "cols": cols,
            "inset": prediction.inset / prediction.input_size,
            "boxes": [
                [b.x / width, b.y / height, b.width / width, b.height / height] for b in boxes
            ],
            "cell": cell,
            "label": f"{prediction.path.name}: {prediction.verdict}",
        },
        on_cell_change=lambda: None,
    )
    return None if result.cell is None else (int(result.cell[0]), int(result.cell[1]))


def gallery(
    cards: Sequence[Card],
    *,
    key: str,
    label: str,
    chosen: str | None = None,
    picked: Sequence[str] | None = None,
    side: int = 130,
) -> tuple[str | None, list[str]]:
    """Pictures side by side; the id of one just clicked, and the ids that are ticked.

    Args:
        picked: ids ticked at first; None shows no boxes to tick.
        side: least width of a picture in pixels.
    """
    known = {card.id for card in cards}
    held = st.session_state.get(key)
    ticked = list(picked or []) if held is None else list(held.get("picked") or [])
    ticked = [name for name in ticked if name in known]
    result = _gallery(
        key=key,
        data={
            "cards": [asdict(card) for card in cards],
            "chosen": chosen,
            "picked": ticked,
            "picking": picked is not None,
            "label": label,
            "side": side,
        },
        default={"picked": ticked},
        on_chosen_change=lambda: None,
        on_picked_change=lambda: None,
    )
    return result.chosen, [name for name in (result.picked or []) if name in known]
