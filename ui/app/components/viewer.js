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

  const { rows, cols } = data, [top, left] = data.inset;
  const high = 1 - 2 * top, wide = 1 - 2 * left;
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
    [left + (wide * col) / cols, top + (high * row) / rows, wide / cols, high / rows];
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
    show(Math.floor((((event.clientY - area.top) / area.height - top) / high) * rows),
         Math.floor((((event.clientX - area.left) / area.width - left) / wide) * cols));
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
