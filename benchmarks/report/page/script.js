"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SHAPES = ["circle", "square", "triangle", "diamond"];
const names = [...new Set(data.tables.flatMap((table) => table.lines.map((line) => line.agent)))];
const state = { sort: null, down: false, step: 0, timer: null };

// ---- elements ------------------------------------------------------------------------------

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function drawn(name, attributes = {}, text = null, tip = null) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  if (tip !== null) {
    node.dataset.tip = tip;
    node.setAttribute("tabindex", "0");
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", tip);
  }
  return node;
}

function canvas(host, height, label) {
  const width = Math.max(260, Math.round(host.clientWidth || 560));
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  host.replaceChildren(svg);
  return { svg, width, add: (...rest) => inside(svg.appendChild(drawn(...rest)), width) };
}

function inside(node, width) {
  // a text that would end beyond the drawing is moved into it
  if (node.tagName !== "text") return node;
  const box = node.getBBox(), over = Math.max(0, box.x + box.width - width);
  const shift = box.x < over ? -box.x : -over;
  if (box.width && shift) node.setAttribute("x", Number(node.getAttribute("x")) + shift);
  return node;
}

const colour = (agent) => `var(--c${names.indexOf(agent) % 8})`;
const cut = (text, room) => (text.length <= room ? text : text.slice(0, Math.max(1, room - 1)) + "…");
const short = (value) => (value === null ? "-" : String(+value.toPrecision(4)));
const percent = (value) => (Math.abs(value) < 0.1 ? value.toFixed(3) : value.toFixed(2)) + " %";

function mark(plot, agent, x, y, full, tip) {
  const fill = full ? colour(agent) : "var(--card)";
  const look = { fill, stroke: colour(agent), "stroke-width": 1.6 };
  const shape = SHAPES[Math.floor(names.indexOf(agent) / 8) % SHAPES.length];
  if (shape === "circle") return plot.add("circle", { cx: x, cy: y, r: 5, ...look }, null, tip);
  const path = {
    square: `M${x - 4.5} ${y - 4.5}h9v9h-9z`,
    triangle: `M${x} ${y - 5.5}l5.5 10h-11z`,
    diamond: `M${x} ${y - 6}l6 6l-6 6l-6 -6z`,
  }[shape];
  return plot.add("path", { d: path, ...look }, null, tip);
}

// ---- axes ----------------------------------------------------------------------------------

function axis(values, from, to, log) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (log) [low, high] = [Math.log10(low), Math.log10(high)];
  if (high - low < 1e-12) [low, high] = [low - (log ? 0.5 : Math.abs(low) || 1), high + (log ? 0.5 : Math.abs(high) || 1)];
  const pad = 0.04 * (high - low);
  [low, high] = [low - pad, high + pad];
  const place = (value) => from + ((to - from) * ((log ? Math.log10(value) : value) - low)) / (high - low);
  const ticks = [];
  if (log) {
    const every = Math.max(1, Math.ceil((high - low) / (Math.abs(to - from) / 55)));
    for (let k = Math.ceil(low); k <= high; k += every) ticks.push(10 ** k);
    if (ticks.length < 2) for (const part of [2, 5, 1]) for (let k = Math.floor(low); k <= high; k++) {
      const value = part * 10 ** k;
      if (Math.log10(value) >= low && Math.log10(value) <= high && !ticks.includes(value)) ticks.push(value);
    }
  } else {
    const rough = (high - low) / Math.max(2, Math.abs(to - from) / 70);
    const unit = 10 ** Math.floor(Math.log10(rough));
    const stride = [1, 2, 5, 10].map((k) => k * unit).find((value) => value >= rough);
    for (let k = Math.ceil(low / stride); k * stride <= high; k++) ticks.push(k * stride);
  }
  return { place, ticks };
}

const FLOOR = 1e-3; // percent: what is drawn for a gap of nothing on a logarithmic axis
const raised = (value) => Math.max(value, FLOOR);

function rows(host, entries, values, log, label, draw) {
  // one row per agent, its name at the left, an axis of numbers below
  if (!entries.length) return host.replaceChildren(element("p", { class: "hint" }, "Nothing to show for this choice."));
  const plot = canvas(host, 24 * entries.length + 46, label);
  const left = Math.min(190, 0.36 * plot.width), bottom = 24 * entries.length + 8;
  const scale = axis(values, left + 8, plot.width - 66, log);
  for (const value of scale.ticks) {
    const x = scale.place(value);
    plot.add("line", { x1: x, x2: x, y1: 2, y2: bottom, stroke: "var(--line)" });
    plot.add("text", { x, y: bottom + 14, "text-anchor": "middle", class: "soft" }, short(value));
  }
  plot.add("text", { x: left + 8, y: bottom + 32, class: "soft" }, label);
  entries.forEach((entry, k) => {
    const y = 24 * k + 16;
    plot.add("text", { x: left, y: y + 4, "text-anchor": "end" }, cut(entry.agent, Math.floor(left / 6.6)));
    draw(plot, entry, y, scale.place);
  });
  return plot;
}

// ---- what is picked ------------------------------------------------------------------------

function picked() {
  const table = data.tables.find((one) => one.scenario === $("scenario").value && one.prompt === $("prompt").value);
  const on = new Set([...document.querySelectorAll("#agents input:checked")].map((box) => box.value));
  return { table, lines: table ? table.lines.filter((line) => on.has(line.agent)) : [] };
}

function options(select, values, keep = select.value) {
  select.replaceChildren(...values.map((value) => element("option", { value }, value)));
  select.value = values.includes(keep) ? keep : values[0] ?? "";
}

function sorted(table, lines) {
  const word = $("filter").value.trim().toLowerCase();
  const kept = lines.filter((line) => line.agent.toLowerCase().includes(word));
  if (state.sort === null) return kept;
  const key = (line) => line.keys[state.sort];
  const known = kept.filter((line) => key(line) !== null), unknown = kept.filter((line) => key(line) === null);
  known.sort((a, b) => (typeof key(a) === "string" ? key(a).localeCompare(key(b)) : key(a) - key(b)));
  return [...(state.down ? known.reverse() : known), ...unknown];
}

function showTable({ table, lines }) {
  const header = element("tr");
  data.header.forEach((text, k) => {
    const arrow = state.sort === k ? (state.down ? " ▼" : " ▲") : "";
    const button = element("button", { type: "button" }, text + arrow);
    button.addEventListener("click", () => {
      state.down = state.sort === k && !state.down;
      state.sort = k;
      showTable(picked());
      $("table").querySelectorAll("th button")[k].focus();
    });
    const order = state.sort !== k ? "none" : state.down ? "descending" : "ascending";
    header.append(element("th", { scope: "col", "aria-sort": order }, button));
  });
  const found = table ? sorted(table, lines) : [];
  const body = found.map((line) => element("tr", {}, ...line.cells.map((text) => element("td", {}, text))));
  if (table && table.bound) body.push(element("tr", { class: "bound" }, ...table.bound.map((text) => element("td", {}, text))));
  $("table").tHead.replaceChildren(header);
  $("table").tBodies[0].replaceChildren(...body);
  $("count").textContent = `${found.length} of ${table ? table.lines.length : 0} agents.`;
}

// ---- pictures ------------------------------------------------------------------------------

function showGaps(lines) {
  const known = lines.filter((line) => line.gap);
  const ends = ({ gap: [mean, low, high] }) => [mean, low ?? mean, high ?? mean].map(raised);
  rows($("gaps"), known, known.flatMap(ends), true, "mean gap (%)", (plot, line, y, place) => {
    const [mean, low, high] = ends(line);
    plot.add("line", { x1: place(low), x2: place(high), y1: y, y2: y, stroke: colour(line.agent), "stroke-width": 2 });
    mark(plot, line.agent, place(mean), y, true, `${line.agent}\ngap ${line.cells[4]} % ${line.cells[5]}\ncost ${line.cells[1]} ${line.cells[2]}`);
    plot.add("text", { x: place(high) + 9, y: y + 4 }, percent(line.gap[0]));
  });
}

function showSpread(lines) {
  const known = lines.filter((line) => line.gaps.length);
  rows($("spread"), known, known.flatMap((line) => line.gaps.map(raised)), true, "gap of an instance (%)", (plot, line, y, place) => {
    const at = (share) => line.gaps[Math.round(share * (line.gaps.length - 1))];
    const dots = line.gaps.map((gap, k) => `M${place(raised(gap)).toFixed(1)} ${y + ((k * 7) % 11) - 5}h0`).join("");
    plot.add("path", { d: dots, stroke: colour(line.agent), "stroke-width": 4, "stroke-linecap": "round", opacity: 0.4 });
    const text = `${line.agent}\nmedian ${percent(at(0.5))}\nhalf between ${percent(at(0.25))} and ${percent(at(0.75))}\nlargest ${percent(at(1))}`;
    const box = { x: place(raised(at(0))) - 4, y: y - 9, height: 18, fill: "transparent" };
    plot.add("rect", { ...box, width: place(raised(at(1))) - box.x + 4 }, null, text);
    plot.add("line", { x1: place(raised(at(0.5))), x2: place(raised(at(0.5))), y1: y - 9, y2: y + 9, stroke: "var(--ink)", "stroke-width": 2 });
  });
}

function showTime(lines) {
  const known = lines.filter((line) => line.gap && line.single_ms && line.batched_ms);
  if (!known.length) return $("time").replaceChildren(element("p", { class: "hint" }, "Nothing to show for this choice."));
  const height = 380, plot = canvas($("time"), height, "gap against decision time");
  const x = axis(known.flatMap((line) => [line.single_ms, line.batched_ms]), 58, plot.width - 14, true);
  const y = axis(known.map((line) => raised(line.gap[0])), height - 40, 14, true);
  for (const value of x.ticks) {
    plot.add("line", { x1: x.place(value), x2: x.place(value), y1: 6, y2: height - 32, stroke: "var(--line)" });
    plot.add("text", { x: x.place(value), y: height - 18, "text-anchor": "middle", class: "soft" }, short(value));
  }
  for (const value of y.ticks) {
    plot.add("line", { x1: 52, x2: plot.width - 6, y1: y.place(value), y2: y.place(value), stroke: "var(--line)" });
    plot.add("text", { x: 48, y: y.place(value) + 4, "text-anchor": "end", class: "soft" }, short(value));
  }
  plot.add("text", { x: 58, y: height - 3, class: "soft" }, "ms per instance; up: mean gap (%)");
  const taken = []; // where names stand, so that none covers another
  for (const line of known) {
    const at = y.place(raised(line.gap[0])), [one, many] = [x.place(line.single_ms), x.place(line.batched_ms)];
    const tip = `${line.agent}\ngap ${percent(line.gap[0])}\n`;
    plot.add("line", { x1: many, x2: one, y1: at, y2: at, stroke: colour(line.agent), opacity: 0.5 });
    mark(plot, line.agent, many, at, false, `${tip}${short(line.batched_ms)} ms batched`);
    mark(plot, line.agent, one, at, true, `${tip}${short(line.single_ms)} ms one by one`);
    const before = one > 0.6 * plot.width;
    let down = at - 8;
    while (taken.some(([u, v]) => Math.abs(u - one) < 110 && Math.abs(v - down) < 12)) down -= 12;
    taken.push([one, down]);
    plot.add("text", { x: one, y: Math.max(down, 12), "text-anchor": before ? "end" : "start" }, cut(line.agent, 24));
  }
}

function showPairs({ table, lines }) {
  const host = $("pairs");
  if (data.pairs === null) return host.replaceChildren(element("p", { class: "hint" }, "Too many for a page: lambo report --compare A B prints them."));
  const against = $("against").value;
  const found = lines.filter((line) => line.agent !== against).flatMap(({ agent }) => {
    const pair = data.pairs.find((one) => one.scenario === table.scenario && one.prompt === table.prompt && [one.a, one.b].includes(agent) && [one.a, one.b].includes(against));
    if (!pair) return [];
    const { a_minus_b: mean, low, high, a_lower: lower, instances } = pair;
    return pair.a === agent ? [{ agent, mean, low, high, lower, instances }] : [{ agent, mean: -mean, low: high && -high, high: low && -low, lower: 1 - lower, instances }];
  });
  const ends = ({ mean, low, high }) => [low ?? mean, high ?? mean, 0];
  const label = `cost minus ${cut(against, 20)}'s${table && table.unit ? ` (${table.unit})` : ""}`;
  rows(host, found, found.flatMap(ends), false, label, (plot, pair, y, place) => {
    const [low, high] = ends(pair);
    plot.add("line", { x1: place(0), x2: place(0), y1: y - 12, y2: y + 12, stroke: "var(--bound)", "stroke-dasharray": "4 2" });
    plot.add("line", { x1: place(low), x2: place(high), y1: y, y2: y, stroke: colour(pair.agent), "stroke-width": 2 });
    mark(plot, pair.agent, place(pair.mean), y, low > 0 || high < 0, `${pair.agent} minus ${against}\n${short(pair.mean)} [${short(pair.low)}, ${short(pair.high)}]\nlower in ${Math.round(100 * pair.lower)} % of ${pair.instances}`);
  });
}

// ---- the player ----------------------------------------------------------------------------

const slot = () => data.slots.find((one) => one.scenario === $("scenario").value && one.prompt === $("prompt").value);
const letter = (server) => (server < 26 ? String.fromCharCode(65 + server) : String(server + 1));

function showPlayer() {
  const found = slot(), table = picked().table;
  $("player").hidden = !found;
  if (!found) return;
  const agents = found.agents.map((one) => one.agent), count = found.ue_xy.length;
  options($("left"), agents, agents.includes($("left").value) ? $("left").value : agents[1] ?? agents[0]);
  options($("right"), agents, agents.includes($("right").value) ? $("right").value : agents[agents.length - 1]);
  state.step = Math.min(state.step, count);
  Object.assign($("step"), { max: count, value: state.step });
  $("step").setAttribute("aria-valuetext", `${state.step} of ${count} UEs decided`);
  const two = ["left", "right"].map((side) => found.agents.find((one) => one.agent === $(side).value));
  two.forEach((one, k) => showSide(["left", "right"][k], found, one, table.unit));
  showCosts(found, two, table.unit);
}

function showSide(side, found, one, unit) {
  const at = state.step, servers = found.server_xy.length, ue = at - 1;
  const used = found.server_xy.map((_, m) => one.cpu_share.slice(0, at).reduce((sum, part, k) => sum + (one.place[k] === m + 1 ? part : 0), 0));
  const late = one.late.slice(0, at).filter(Boolean).length;
  const where = (k) => (one.place[k] === 0 ? "local" : `server ${letter(one.place[k] - 1)}`);
  const took = (k) => (one.ratio[k] === null ? "never done" : `${short(one.ratio[k])} of its deadline`);
  const last = at ? `UE ${ue}: ${where(ue)}, ${took(ue)}` : "nobody is decided";
  const over = found.bound ? `, ${percent(100 * (one.cost[at] / found.bound - 1))} above the bound` : "";
  $(`${side}-text`).textContent = `${one.agent}. ${last}. Cost ${short(one.cost[at])} ${unit}${over}; ${late} late.`;
  const bars = 18 * Math.min(servers, 16) + 12, plot = canvas($(`${side}-map`), 0, `map of ${one.agent}`);
  const size = Math.min(plot.width, 460), left = (plot.width - size) / 2;
  plot.svg.setAttribute("viewBox", `0 0 ${plot.width} ${size + bars}`);
  const place = ([x, y]) => [left + 10 + (x / found.side_m) * (size - 20), size - 10 - (y / found.side_m) * (size - 20)];
  plot.add("rect", { x: left + 1, y: 1, width: size - 2, height: size - 2, fill: "none", stroke: "var(--line)" });
  const radius = found.ue_xy.length > 80 ? 3.5 : 5.5;
  found.ue_xy.slice(0, at).forEach((xy, k) => {
    if (one.place[k] === 0) return;
    const [[x1, y1], [x2, y2]] = [place(xy), place(found.server_xy[one.place[k] - 1])];
    plot.add("line", { x1, y1, x2, y2, stroke: `var(--c${(one.place[k] - 1) % 8})`, opacity: k === ue ? 1 : 0.35, "stroke-width": k === ue ? 2.5 : 1.2 });
  });
  found.ue_xy.forEach((xy, k) => {
    const [cx, cy] = place(xy), done = k < at, home = one.place[k] === 0;
    const paint = home ? "var(--c5)" : `var(--c${(one.place[k] - 1) % 8})`;
    const node = plot.add("circle", { cx, cy, r: radius, fill: done ? paint : "var(--card)", stroke: k === ue ? "var(--ink)" : done ? paint : "var(--soft)", "stroke-width": k === ue ? 3 : 1.3 });
    node.dataset.tip = done ? `UE ${k}: ${where(k)}\n${took(k)}` : `UE ${k}: undecided`;
    if (done && one.late[k]) plot.add("path", { d: `M${cx - 6} ${cy - 6}l12 12m0 -12l-12 12`, stroke: "var(--bound)", "stroke-width": 2.5 });
  });
  found.server_xy.forEach((xy, m) => {
    const [x, y] = place(xy);
    plot.add("rect", { x: x - 9, y: y - 9, width: 18, height: 18, rx: 3, fill: `var(--c${m % 8})`, stroke: "var(--card)", "stroke-width": 1.5 }).dataset.tip = `server ${letter(m)}: ${Math.round(100 * used[m])} % allotted`;
    plot.add("text", { x, y: y + 4, "text-anchor": "middle", style: "fill:var(--card);font-weight:700;pointer-events:none" }, letter(m));
  });
  used.slice(0, 16).forEach((share, m) => {
    const y = size + 10 + 18 * m, wide = size - 76;
    plot.add("text", { x: left + 4, y: y + 11 }, letter(m));
    plot.add("rect", { x: left + 24, y: y + 2, width: wide, height: 10, fill: "none", stroke: "var(--line)" });
    plot.add("rect", { x: left + 24, y: y + 2, width: wide * Math.min(share, 1), height: 10, fill: `var(--c${m % 8})` });
    plot.add("text", { x: left + size - 46, y: y + 11 }, `${Math.round(100 * share)} %`);
  });
}

function showCosts(found, two, unit) {
  const height = 200, plot = canvas($("costs"), height, "cost over decisions"), count = found.ue_xy.length;
  const y = axis([...two.flatMap((one) => one.cost), ...(found.bound ? [found.bound] : [])], height - 36, 32, false);
  const x = (step) => 58 + ((plot.width - 72) * step) / count;
  for (const value of y.ticks) {
    plot.add("line", { x1: 54, x2: plot.width - 8, y1: y.place(value), y2: y.place(value), stroke: "var(--line)" });
    plot.add("text", { x: 50, y: y.place(value) + 4, "text-anchor": "end", class: "soft" }, short(value));
  }
  plot.add("text", { x: 58, y: height - 4, class: "soft" }, `UEs decided; up: cost${unit ? ` (${unit})` : ""}`);
  for (const step of [0, count]) plot.add("text", { x: x(step), y: height - 20, "text-anchor": step ? "end" : "start", class: "soft" }, String(step));
  if (found.bound) plot.add("line", { x1: 54, x2: plot.width - 8, y1: y.place(found.bound), y2: y.place(found.bound), stroke: "var(--bound)", "stroke-width": 1.5, "stroke-dasharray": "6 3" });
  two.forEach((one, k) => {
    const points = one.cost.map((cost, step) => `${x(step).toFixed(1)},${y.place(cost).toFixed(1)}`).join(" ");
    plot.add("polyline", { points, fill: "none", stroke: colour(one.agent), "stroke-width": 2, "stroke-dasharray": k ? "7 3" : "none" });
    plot.add("circle", { cx: x(state.step), cy: y.place(one.cost[state.step]), r: 5, fill: colour(one.agent) }).dataset.tip = `${one.agent}: ${short(one.cost[state.step])} ${unit}`;
  });
  two.forEach((one, k) => plot.add("text", { x: k ? plot.width - 10 : 58, y: 16, "text-anchor": k ? "end" : "start", style: `fill:${colour(one.agent)}` }, `${k ? "- -" : "—"} ${cut(one.agent, Math.floor(plot.width / 16))}`));
}

function stop() {
  clearInterval(state.timer);
  state.timer = null;
  $("play").textContent = "play";
}

function go(step) {
  state.step = Math.max(0, Math.min(step, slot().ue_xy.length));
  if (state.step === slot().ue_xy.length) stop();
  showPlayer();
}

function play() {
  if (state.timer !== null) return stop();
  if (state.step === slot().ue_xy.length) go(0);
  $("play").textContent = "pause";
  state.timer = setInterval(() => go(state.step + 1), 200);
}

// ---- everything ----------------------------------------------------------------------------

function show() {
  const found = picked();
  const agents = found.lines.map((line) => line.agent);
  options($("against"), agents, agents.includes($("against").value) ? $("against").value : agents[agents.length - 1]);
  showTable(found);
  showGaps(found.lines);
  showSpread(found.lines);
  showTime(found.lines);
  showPairs(found);
  showPlayer();
}

function choose() {
  const prompts = data.tables.filter((table) => table.scenario === $("scenario").value).map((table) => table.prompt);
  options($("prompt"), prompts);
  show();
}

function tip(event) {
  const text = event.target.dataset?.tip, box = $("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const near = event.target.getBoundingClientRect(), room = box.getBoundingClientRect();
  const x = Math.min(Math.max(8, near.left + near.width / 2 - room.width / 2), innerWidth - room.width - 8);
  const above = near.top - room.height - 8;
  Object.assign(box.style, { left: `${x}px`, top: `${above > 4 ? above : near.bottom + 8}px` });
}

function start() {
  options($("scenario"), [...new Set(data.tables.map((table) => table.scenario))]);
  for (const agent of names) {
    const box = element("input", { type: "checkbox", value: agent });
    box.checked = true;
    $("agents").append(element("label", {}, box, agent));
  }
  const tick = (on) => {
    for (const box of document.querySelectorAll("#agents input")) box.checked = on;
    show();
  };
  $("all").addEventListener("click", () => tick(true));
  $("none").addEventListener("click", () => tick(false));
  $("agents").addEventListener("change", show);
  $("pick").addEventListener("submit", (event) => event.preventDefault());
  $("scenario").addEventListener("change", choose);
  $("prompt").addEventListener("change", show);
  $("filter").addEventListener("input", () => showTable(picked()));
  $("against").addEventListener("change", () => showPairs(picked()));
  for (const side of ["left", "right"]) $(side).addEventListener("change", showPlayer);
  $("step").addEventListener("input", () => go(Number($("step").value)));
  $("back").addEventListener("click", () => go(state.step - 1));
  $("next").addEventListener("click", () => go(state.step + 1));
  $("play").addEventListener("click", play);
  for (const event of ["mouseover", "focusin"]) document.addEventListener(event, tip);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") $("tip").hidden = true; });
  $("notes").textContent = data.notes.join(" ");
  $("tables").open = false;
  $("page").hidden = false;
  choose();
  if (slot()) go(slot().ue_xy.length);
  let wait = null;
  addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(show, 150); });
}

start();
