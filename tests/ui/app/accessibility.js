// What keeps people out of a page: low contrast, controls without a name, headings out of order,
// ids used twice, a document without language or title. Looks into shadow roots. Returns lines.
const LARGE = 24, LARGE_BOLD = 18.66, LEAST = 4.5, LEAST_LARGE = 3;
const faults = new Set();

function* everything(root) {
  for (const element of root.querySelectorAll("*")) {
    yield element;
    if (element.shadowRoot) yield* everything(element.shadowRoot);
  }
}
const above = (node) => node.parentElement || (node.getRootNode().host ?? null);
const chain = (node) => {
  const found = [];
  for (let at = node; at; at = above(at)) found.push(at);
  return found;
};
const shown = (element) => {
  const box = element.getBoundingClientRect();
  if (box.width < 2 || box.height < 2) return false;
  return chain(element).every((at) => {
    const style = getComputedStyle(at);
    return style.visibility !== "hidden" && style.display !== "none" && style.opacity !== "0";
  });
};
const hidden = (element) =>
  chain(element).some((at) => at.getAttribute("aria-hidden") === "true" || at.inert);
const told = (element) => {
  const text = element.outerHTML.replace(/\s+/g, " ");
  return text.length > 140 ? text.slice(0, 140) + "…" : text;
};

const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const colour = (text) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (front, back) =>
  [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3])).concat(1);
const light = (c) => {
  const [r, g, b] = c.slice(0, 3).map((v) => {
    const s = v / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
};
// null where a picture lies behind: that is for eyes to judge
const behind = (element) => {
  let back = [255, 255, 255, 1];
  const text = element.getBoundingClientRect();
  const [x, y] = [text.x + text.width / 2, text.y + text.height / 2];
  for (const at of chain(element).reverse()) {
    const style = getComputedStyle(at), box = at.getBoundingClientRect();
    // text may stand beside what it belongs to, as the value above a slider's thumb
    const under = box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
    if (!under && at !== document.body && at !== document.documentElement) continue;
    if (style.backgroundImage !== "none") return null;
    const own = colour(style.backgroundColor);
    back = over([own[0], own[1], own[2], own[3] * Number(style.opacity)], back);
  }
  return back;
};

for (const element of everything(document)) {
  const text = [...element.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
  if (!text.length || ["SCRIPT", "STYLE", "NOSCRIPT", "TITLE", "TEMPLATE"].includes(element.tagName))
    continue;
  const off = element.closest("[disabled], [aria-disabled=true], svg");
  if (off || hidden(element) || !shown(element)) continue;
  const back = behind(element);
  if (!back) continue;
  const style = getComputedStyle(element), front = colour(style.color);
  front[3] *= chain(element).reduce((all, at) => all * Number(getComputedStyle(at).opacity), 1);
  const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
  const least = size >= LARGE || (bold && size >= LARGE_BOLD) ? LEAST_LARGE : LEAST;
  const found = contrast(over(front, back), back);
  if (found < least)
    faults.add(`contrast ${found.toFixed(2)} < ${least}: '${text[0].data.trim().slice(0, 60)}' in ` +
      `${element.tagName.toLowerCase()} ${chain(element).map((a) => a.dataset?.testid).find(Boolean)}`);
}

const NAMED = "button, a[href], input:not([type=hidden]), select, textarea, iframe, " +
  "[role=button], [role=checkbox], [role=slider], [role=combobox], [role=tab], [role=radio], " +
  "[role=switch], [role=dialog], [role=img], [role=graphics-document], [tabindex='0'][role=group]";
const nameOf = (element) => {
  const root = element.getRootNode();
  const by = (element.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
  const labels = [...(element.labels || [])].map((label) => label.textContent);
  const pictures = [...element.querySelectorAll("img[alt]")].map((image) => image.alt);
  const parts = [element.getAttribute("aria-label"), element.getAttribute("title"), element.alt,
    ...by.map((id) => root.getElementById(id)?.textContent), ...labels, ...pictures];
  if (!["INPUT", "SELECT", "TEXTAREA", "IFRAME"].includes(element.tagName) &&
      !["group", "dialog"].includes(element.getAttribute("role")))
    parts.push([...element.querySelectorAll("*"), element]
      .filter((at) => at.getAttribute("aria-hidden") !== "true")
      .flatMap((at) => [...at.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data))
      .join(""));
  return parts.filter(Boolean).join(" ").trim();
};
for (const element of everything(document)) {
  if (hidden(element)) continue;
  if (element.tagName === "IMG" && !element.hasAttribute("alt") && shown(element))
    faults.add(`picture without alt: ${told(element)}`);
  if (element.matches(NAMED) && (shown(element) || element.type === "file") && !nameOf(element))
    faults.add(`no name: ${told(element)}`);
  // a chart says what it shows by a description of its own
  if (element.tagName === "CANVAS" && element.closest("[data-testid=stVegaLiteChart]") &&
      shown(element) && !chain(element).some((at) => at.getAttribute("aria-label")))
    faults.add(`chart without a name: ${told(element)}`);
}

const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter(shown);
if (levels.filter((heading) => heading.tagName === "H1").length !== 1)
  faults.add(`expected one h1, got ${levels.map((h) => h.tagName + " " + h.textContent)}`);
levels.reduce((before, heading) => {
  const now = Number(heading.tagName[1]);
  if (now > before + 1) faults.add(`heading skips from h${before} to h${now}: ${heading.textContent}`);
  return now;
}, 0);

if (!document.documentElement.lang) faults.add("the document names no language");
if (!document.title) faults.add("the document has no title");
// an id used twice matters where something refers to it
const REFERRING = ["aria-labelledby", "aria-describedby", "aria-controls", "for"];
for (const element of everything(document)) {
  for (const id of REFERRING.flatMap((n) => (element.getAttribute(n) || "").split(/\s+/)))
    if (id && element.getRootNode().querySelectorAll(`[id="${CSS.escape(id)}"]`).length > 1)
      faults.add(`id used twice, and referred to: ${id}`);
}
return [...faults];
