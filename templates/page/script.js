// What a script adds to a page that works without: values on hover, sorting, filters, copies, and
// switches in figures. Everything is made here, so that without it there is no dead button.
"use strict";
const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const button = (text, attributes, act) => {
  const element = make("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", () => act(element));
  return element;
};
const said = make("p", { class: "hidden", role: "status" });
document.body.append(said);

// Copies. Where the clipboard is closed to the page, the text is selected, ready for Ctrl-C.
const copy = async (text, element, shown) => {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = `Copied: ${text.length < 200 ? text : shown}`;
    element.dataset.state = "copied";
    setTimeout(() => delete element.dataset.state, 1500);
  } catch {
    said.textContent = "The browser does not let the page copy";
  }
};
for (const target of document.querySelectorAll(".body h2[id], .body h3[id], main section[id] > h2, main section[id] > h3, main section[id] > h4, figure[id] figcaption, figure[id] caption")) {
  const { id } = target.id ? target : target.closest("[id]");
  const name = target.textContent.trim().slice(0, 60);
  target.append(
    button("#", { class: "permalink", "aria-label": `Copy link to: ${name}` }, (element) => {
      history.replaceState(null, "", `#${id}`);
      copy(location.href, element, "link");
    }),
  );
}
for (const block of document.querySelectorAll("pre.copy")) {
  const text = block.textContent;
  block.before(button("Copy", { class: "copy", "aria-label": `Copy ${block.getAttribute("aria-label")}` }, (element) => copy(text, element, block.getAttribute("aria-label"))));
}

// Sorting: by the numbers where a column has some, else by its words; missing values last.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const text = cell?.querySelector("data")?.value ?? cell?.textContent.trim() ?? "";
  const number = Number.parseFloat(text);
  return text !== "" && Number.isFinite(number) && /^[-+\d.]/.test(text) ? number : text;
};
const compare = (a, b) => {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return typeof a === "number" ? -1 : 1;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const act = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const [body] = table.tBodies;
      const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
      rows.sort(([a], [b]) => (down ? -1 : 1) * compare(a, b));
      body.append(...rows.map(([, row]) => row));
      said.textContent = `Sorted by ${head.textContent.trim()}, ${down ? "descending" : "ascending"}`;
    };
    const sort = button("", { class: "sort" }, act);
    sort.append(...head.childNodes);
    head.append(sort);
  });
}

// A filter over the rows of a long table.
for (const table of document.querySelectorAll("table.filterable")) {
  const input = make("input", { type: "search", placeholder: table.dataset.placeholder ?? "" });
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) shown += 1;
    }
    said.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
  });
  table.closest("figure, details")?.querySelector(".scroll").before(make("label", { class: "filter" }, "Filter ", input));
}

// Switches of a figure: seeds on and off, and the other scale where it is drawn too.
for (const figure of document.querySelectorAll("figure.plot")) {
  const bar = make("p", { class: "switches" });
  const press = (element, on) => element.setAttribute("aria-pressed", String(on));
  const seeds = figure.querySelectorAll('[id*="seed|"]');
  if (seeds.length) {
    bar.append(button("seeds", { "aria-pressed": "true" }, (element) => {
      const on = element.getAttribute("aria-pressed") !== "true";
      press(element, on);
      for (const seed of seeds) seed.style.display = on ? "" : "none";
    }));
  }
  const scales = figure.querySelectorAll("[data-scale]");
  if (scales.length > 1) {
    bar.append(button("linear", { "aria-pressed": "false" }, (element) => {
      const on = element.getAttribute("aria-pressed") !== "true";
      press(element, on);
      for (const drawn of scales) drawn.hidden = (drawn.dataset.scale === "linear") !== on;
    }));
  }
  if (bar.children.length) figure.querySelector(".paper").before(bar);
}

// Values on hover, or by the arrow keys: the point of a line that is nearest. An axis says its limits in the id
// of its background, and a line its name, so that a value follows from where a point is drawn.
const tip = make("div", { class: "tip", hidden: "" });
document.body.append(tip);
const short = (value) => (value === 0 ? "0" : Math.abs(value) >= 1000 || Math.abs(value) < 0.001 ? value.toExponential(2) : String(Number(value.toPrecision(3))));
const between = (scale, low, high, share) => (scale === "log" ? low * (high / low) ** share : low + (high - low) * share);
const read = (svg) => {
  const points = [];
  for (const ground of svg.querySelectorAll('[id*="axes|"]')) {
    const [, xScale, x0, x1, yScale, y0, y1] = decodeURIComponent(ground.id).split("|").map((part, i) => ([0, 1, 4].includes(i) ? part : Number(part)));
    const box = ground.getBBox();
    for (const line of ground.parentElement.querySelectorAll('[id*="line|"]')) {
      const name = decodeURIComponent(line.id.split("line|")[1]);
      const marks = [...line.querySelectorAll("use")].map((use) => [use.x.baseVal.value, use.y.baseVal.value]);
      const path = line.querySelector(":scope > path")?.getAttribute("d") ?? "";
      const drawn = marks.length ? marks : [...path.matchAll(/[ML]\s*([-\d.]+)[ ,]([-\d.]+)/g)].map((found) => [Number(found[1]), Number(found[2])]);
      for (const [x, y] of drawn) {
        const [across, up] = [(x - box.x) / box.width, 1 - (y - box.y) / box.height];
        if (across < -0.01 || across > 1.01 || up < -0.01 || up > 1.01) continue;
        points.push({ x, y, text: `${name}: ${short(between(yScale, y0, y1, up))} at ${short(between(xScale, x0, x1, across))}` });
      }
    }
  }
  return points;
};
for (const svg of document.querySelectorAll("figure.plot svg")) {
  let points;
  let current = 0;
  const at = (point) => new DOMPoint(point.x, point.y).matrixTransform(svg.getScreenCTM());
  const show = (point) => {
    tip.hidden = !point;
    if (!point) return;
    const { x, y } = at(point);
    tip.textContent = point.text;
    tip.style.left = `${Math.min(x + scrollX + 10, scrollX + innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${y + scrollY - 32}px`;
  };
  svg.addEventListener("pointermove", (event) => {
    points ??= read(svg);
    let [best, least] = [undefined, 24 ** 2];
    for (const point of points) {
      const { x, y } = at(point);
      const distance = (x - event.clientX) ** 2 + (y - event.clientY) ** 2;
      if (distance < least) [best, least] = [point, distance];
    }
    show(best);
  });
  svg.addEventListener("pointerleave", () => show());
  const holder = svg.closest("[tabindex]");
  holder?.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") show();
    if (!step) return;
    points ??= read(svg);
    if (!points.length) return;
    event.preventDefault();
    current = (current + step + points.length) % points.length;
    show(points[current]);
    said.textContent = points[current].text;
  });
  holder?.addEventListener("blur", () => show());
}
