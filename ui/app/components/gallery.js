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
    button.title = [card.title, ...card.lines].join("\n");
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
