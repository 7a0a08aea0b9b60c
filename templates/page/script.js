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

// Copies; what was copied, or that nothing could be, is said to screen readers too.
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

// Sorting: by the numbers where a column has some, else by its words; what is no number, last either way.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const text = cell?.querySelector("data")?.value ?? cell?.textContent.trim() ?? "";
  const number = Number.parseFloat(text);
  return text !== "" && Number.isFinite(number) && /^[-+\d.]/.test(text) ? number : text;
};
const compare = (a, b, direction) => {
  if (typeof a === typeof b) return direction * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
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
      rows.sort(([a], [b]) => compare(a, b, down ? -1 : 1));
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

// An axis says its scale and limits in the id of its background, and a line its name: a value follows from where
// a point is drawn, and where it is to be drawn from its value.
const scalesOf = (ground) => {
  const [, xScale, x0, x1, yScale, y0, y1, title] = decodeURIComponent(ground.id).split("|");
  return { title, xScale, x0: Number(x0), x1: Number(x1), yScale, y0: Number(y0), y1: Number(y1), box: ground.getBBox() };
};
const between = (scale, low, high, share) => (scale === "log" ? low * (high / low) ** share : low + (high - low) * share);
const drawnIn = (ground) => ground.parentElement.querySelectorAll('[id*="line|"], [id*="seed|"]');
// The points of a path, whose lines are "M x y", and "l" with distances from one to the next.
const pointsOf = (path) => {
  const points = [];
  for (const [, to, numbers] of (path ?? "").matchAll(/([MLl])([^MLl]*)/g)) {
    const found = numbers.match(/-?\d*\.?\d+/g) ?? [];
    for (let i = 0; i + 1 < found.length; i += 2) {
      const [x, y] = to === "l" ? points.at(-1) : [0, 0];
      points.push([x + Number(found[i]), y + Number(found[i + 1])]);
    }
  }
  return points;
};
const short = (value) => (value !== 0 && (Math.abs(value) >= 1e4 || Math.abs(value) < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(3))));
const rescale = (ground, linear) => {
  const { y0, y1, box } = scalesOf(ground);
  const axes = ground.parentElement;
  const place = (y) => {
    const value = between("log", y0, y1, 1 - (y - box.y) / box.height);
    return (box.y + box.height * (1 - value / y1)).toFixed(2);
  };
  const set = (element, name, change) => {
    element.dataset[name] ??= element.getAttribute(name);
    element.setAttribute(name, linear ? change(element.dataset[name]) : element.dataset[name]);
  };
  for (const line of drawnIn(ground)) {
    for (const path of line.querySelectorAll(":scope > path")) set(path, "d", (d) => `M${pointsOf(d).map(([x, y]) => `${x.toFixed(2)} ${place(y)}`).join("L")}`);
    for (const use of line.querySelectorAll("use")) set(use, "y", (y) => place(Number(y)));
  }
  for (const tick of axes.querySelectorAll('[id*="ytick_"]')) tick.style.display = linear ? "none" : "";
  axes.querySelector(".linear")?.remove();
  if (!linear) return;
  const ticks = document.createElementNS("http://www.w3.org/2000/svg", "g");
  ticks.setAttribute("class", "linear");
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    for (const [name, value] of [["x", box.x - 5], ["y", box.y + box.height * (1 - share) + 3], ["text-anchor", "end"], ["font-size", 8]]) text.setAttribute(name, value);
    text.textContent = short(y1 * share);
    ticks.append(text);
  }
  axes.append(ticks);
};

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
  const grounds = [...figure.querySelectorAll('[id*="axes|"]')].filter((ground) => scalesOf(ground).yScale === "log");
  if (grounds.length) {
    bar.append(button("linear axis", { "aria-pressed": "false" }, (element) => {
      const on = element.getAttribute("aria-pressed") !== "true";
      press(element, on);
      for (const ground of grounds) rescale(ground, on);
    }));
  }
  if (bar.children.length) figure.querySelector(".panels").before(bar);
}

// Values on hover, or by the arrow keys: the point of a line that is nearest.
const tip = make("div", { class: "tip", hidden: "" });
document.body.append(tip);
const read = (panels) => {
  const points = [];
  const grounds = [...panels.querySelectorAll('[id*="axes|"]')];
  for (const ground of grounds) {
    const { title, xScale, x0, x1, yScale, y0, y1, box } = scalesOf(ground);
    const linear = ground.parentElement.querySelector(".linear") !== null;
    const screen = ground.ownerSVGElement.getScreenCTM();
    const rows = ground.parentElement.querySelectorAll('[id*="ytick_"] text');
    for (const line of ground.parentElement.querySelectorAll('[id*="line|"]')) {
      const label = decodeURIComponent(line.id.split("line|")[1]).replace(/^\d+\|/, "");
      const name = title && grounds.length > 1 ? `${title}, ${label}` : label;
      const marks = [...line.querySelectorAll("use")].map((use) => [use.x.baseVal.value, use.y.baseVal.value]);
      const drawn = marks.length ? marks : pointsOf(line.querySelector(":scope > path")?.getAttribute("d"));
      for (const [x, y] of drawn) {
        const [across, up] = [(x - box.x) / box.width, 1 - (y - box.y) / box.height];
        if (across < -0.01 || across > 1.01 || up < -0.01 || up > 1.01) continue;
        const height = linear ? y1 * up : between(yScale, y0, y1, up);
        const along = short(between(xScale, x0, x1, across));
        const at = new DOMPoint(x, y).matrixTransform(screen);
        points.push({ x: at.x, y: at.y, text: yScale === "rows" ? `${name}, ${rows[Math.round(height)]?.textContent.trim()}: ${along}` : `${name}: ${short(height)} at ${along}` });
      }
    }
  }
  return points;
};
for (const panels of document.querySelectorAll(".panels")) {
  let current = -1;
  const show = (point) => {
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = point.text;
    tip.style.left = `${Math.max(4, Math.min(point.x + 10, innerWidth - tip.offsetWidth - 8)) + scrollX}px`;
    tip.style.top = `${point.y + scrollY - 32}px`;
  };
  panels.addEventListener("pointermove", (event) => {
    let [best, least] = [undefined, 24 ** 2];
    for (const point of read(panels)) {
      const distance = (point.x - event.clientX) ** 2 + (point.y - event.clientY) ** 2;
      if (distance < least) [best, least] = [point, distance];
    }
    show(best);
  });
  panels.addEventListener("pointerleave", () => show());
  panels.addEventListener("blur", () => {
    show();
    current = -1;
  });
  panels.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show();
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const points = step ? read(panels) : [];
    if (!points.length) return;
    event.preventDefault();
    current = (Math.max(current, step < 0 ? 0 : -1) + step + points.length) % points.length;
    show(points[current]);
    said.textContent = points[current].text;
  });
}
