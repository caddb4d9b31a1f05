"use strict";
// Draws each spec as wide as its place, and again when that changes. Words and axes take their colours from the page's style.
const specs = JSON.parse(document.getElementById("specs").textContent);
const GUTTER = 84; // px of a panel's axis, title and margins
const views = new Map();

function sized(spec, width) {
  const made = structuredClone(spec);
  const panels = made.vconcat || [made];
  for (const panel of panels) {
    panel.width = Math.max(200, width - (made.vconcat ? GUTTER : 0));
    if (width < 480) panel.height = Math.round(panel.height * 0.85);
  }
  if (!made.vconcat) made.autosize = { type: "fit-x", contains: "padding" };
  legends(made, width);
  return made;
}

function legends(node, width) {
  // as many columns as fit; palette.coloured does the same for pictures
  if (node === null || typeof node !== "object") return;
  if (node.legend && node.scale && node.scale.domain) {
    const longest = Math.max(...node.scale.domain.map((name) => String(name).length));
    node.legend.columns = Math.max(1, Math.floor((width - GUTTER) / (7.5 * longest + 46)));
  }
  for (const [name, child] of Object.entries(node)) if (name !== "data" && name !== "datasets") legends(child, width);
}

function reachable(place) {
  for (const word of place.querySelectorAll(".role-legend-label text")) {
    word.setAttribute("tabindex", "0");
    word.setAttribute("role", "button");
    word.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      word.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, view: window }));
    });
  }
}

async function draw(place) {
  const name = place.dataset.plot;
  const width = place.clientWidth;
  if (views.get(name)?.width === width) return;
  views.get(name)?.drawn?.finalize();
  views.set(name, { width });
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const options = { renderer: "svg", tooltip: { theme }, actions: { export: true, source: false, compiled: false, editor: false }, downloadFileName: name };
  const drawn = await vegaEmbed(place, sized(specs[name], width), options);
  views.set(name, { width, drawn });
  reachable(place);
  place.dataset.drawn = "true";
}

const drawAll = () => Promise.all([...document.querySelectorAll(".chart")].map(draw));
let waiting = 0;
window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 150); });
drawAll().then(() => { document.documentElement.dataset.ready = "true"; });
