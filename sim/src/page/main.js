// Puts the parts together: summary, filters, selection, pointer and keys.

const $ = id => document.getElementById(id);

function element(name, text, className) {
  const out = document.createElement(name);
  out.textContent = text;
  if (className) out.className = className;
  return out;
}

function palette() {
  const style = getComputedStyle(document.documentElement), out = {};
  for (const name of ["paper", "panel", "ink", "soft", "line", "lane", "push", "session", "greet", "probe", "lost", "write", "delete", "ack",
    "expire", "down", "caught", "cut-a", "cut-b", "trouble", "bad", "good", "focus", "sans"]) {
    out[name] = style.getPropertyValue(`--${name}`).trim();
  }
  return out;
}

const data = readRun($("data").textContent);
const diagram = new Diagram($("canvas"), data, palette());
const slider = new Slider($("slider"), diagram, redraw);
const list = new TraceList($("list"), data, event => choose(event, { center: false }));

let waiting = false;
/** Draws once in the next frame, however often it is asked. */
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    diagram.draw();
    slider.draw();
  });
}

function summarize() {
  const { run } = data, number = value => value.toLocaleString("en-US");
  $("title").textContent = `Seed ${run.seed}`;
  const broken = run.violations.length;
  $("verdict").textContent = broken === 0 ? "every promise held" : `${broken} violation${broken === 1 ? "" : "s"}`;
  $("verdict").classList.toggle("broken", broken > 0);
  $("facts").append(`${run.nodes} nodes · ${(run.end_us / 1e6).toFixed(1)} s · ${number(run.events_seen)} trace events · `
    + `${number(data.messages.count)} messages · ${number(run.rows)} rows · hash `, element("code", run.hash));
  for (const [name, count] of run.promises) $("promises").append(element("span", name.replaceAll("_", " "), count ? "broken" : "held"));
  const met = Object.entries(run.faults).filter(([, count]) => count > 0);
  $("faults").append(met.length ? `faults (${run.requested}):` : `faults (${run.requested}): none met`);
  for (const [name, count] of met) {
    const chip = element("span", `${name} `);
    chip.append(element("b", number(count)));
    $("faults").append(chip);
  }
  if (run.cut_us !== null) {
    $("cut").hidden = false;
    $("cut").textContent = `This page shows the first ${number(data.events.count)} of ${number(run.events_seen)} events, up to `
      + `${seconds(run.cut_us)} s; the rest was not recorded. The summary and the promises are of the whole run.`;
  }
  $("violations").hidden = broken === 0;
  run.violations.forEach(([checker, at, text], i) => {
    const button = element("button", `${checker} at ${seconds(at)} s: ${text}`);
    button.type = "button";
    button.addEventListener("click", () => showViolation(i));
    $("violations").append(document.createElement("li"));
    $("violations").lastElementChild.append(button);
  });
}

let violation = -1;
/** Goes to a broken promise, and to the key it names. */
function showViolation(i) {
  violation = i;
  const [, at, text] = data.run.violations[i];
  const key = data.keys.find(own => text.startsWith(`${own} `) || text.includes(` ${own} `));
  if (key) {
    $("by-key").value = key;
    $("by-verb").value = "*";
    filter();
  }
  diagram.cursor = Math.min(at, data.end);
  diagram.reveal(diagram.cursor, null);
  list.scrollTo(list.placeOf(lowerBound(data.events.at, at)), true);
  redraw();
}

function fillFilters() {
  const option = (value, label) => { const out = element("option", label); out.value = value; return out; };
  $("by-node").append(option("", "all"), ...Array.from({ length: data.nodes }, (_, node) => option(node, `n${node}`)));
  const counts = new Uint32Array(data.events.verbs.length);
  for (const verb of data.events.verb) counts[verb]++;
  const verbs = data.events.verbs.map((verb, i) => [verb, counts[i]]).sort(([a], [b]) => a < b ? -1 : 1);
  $("by-verb").append(option("", "story"), option("*", "everything"), ...verbs.map(([verb, count]) => option(verb, `${verb} (${count})`)));
  // A longer list of suggestions is of no use.
  $("key-list").append(...data.keys.slice(0, 500).map(key => option(key, "")));
}

function filter() {
  const verb = $("by-verb").value, key = $("by-key").value.trim(), node = $("by-node").value;
  let keys = null;
  if (key) {
    const exact = data.keys.indexOf(key);
    keys = new Set(exact >= 0 ? [exact] : data.keys.flatMap((own, i) => own.includes(key) ? [i] : []));
  }
  diagram.chosen = select(data, { node: node === "" ? null : Number(node), verb: verb === "" || verb === "*" ? null : verb, keys, story: verb === "" });
  diagram.focusNode = node === "" ? null : Number(node);
  $("match-count").textContent = `${diagram.chosen.events.length.toLocaleString("en-US")} events`;
  $("clear").hidden = !(verb || key || node);
  list.show(diagram.chosen.events);
  if (list.selected >= 0) list.select(list.selected, true);
  redraw();
}

/** Selects an event everywhere. */
function choose(event, { center }) {
  diagram.selected = event;
  diagram.selectedArrow = -1;
  diagram.cursor = event < 0 ? null : data.events.at[event];
  if (event >= 0) diagram.reveal(data.events.at[event], data.events.node[event]);
  list.select(event, center);
  describe(event);
  redraw();
}

function lines(event) {
  const { events, messages } = data;
  const who = events.node[event] < 0 ? "world" : `n${events.node[event]}`;
  const out = [`${who} ${events.verbs[events.verb[event]]} ${data.texts[events.text[event]]}`, `${seconds(events.at[event])} s, event ${events.firstSeq + event}`];
  const place = events.message[event];
  if (place >= 0) out.push(messageLine(place));
  else if (events.key[event] >= 0 && !out[0].includes("key=")) out.push(`key ${data.keys[events.key[event]]}`);
  return out;
}

function messageLine(place) {
  const { messages, arrows } = data;
  const what = messages.outcomes[messages.outcome[place]];
  const took = diagram.arrowsOf(place).map(arrow => duration(arrows.end[arrow] - arrows.sent[arrow])).join(" and ");
  const link = messages.link[place] === null ? "" : ` on link ${messages.link[place]}`;
  return `message #${messages.number[place]}, ${messages.kinds[messages.kind[place]]} n${messages.from[place]} → n${messages.to[place]}${link}, `
    + `sent ${seconds(messages.sent[place])} s, ${what}${what === "arrived" ? ` after ${took}` : ""}`;
}

function describe(event) {
  const box = $("details");
  box.replaceChildren();
  if (event < 0) {
    box.append(element("p", "Click an event in the diagram or in the list. Wheel zooms, drag pans.", "soft"));
    return;
  }
  lines(event).forEach((text, i) => box.append(element("p", text, i ? "soft" : "")));
  const wide = spread(data, event);
  if (wide) {
    const last = wide.nodes > 0 ? `, the last after ${duration(wide.last - data.events.at[event])}` : "";
    box.append(element("p", `seen on ${wide.nodes} of ${data.nodes} nodes before the next operation on the key${last}`, "soft"));
  }
  const place = data.events.message[event], rows = place < 0 ? undefined : data.messages.rows.get(place);
  if (rows) box.append(element("p", carries(rows, 12), "soft"));
  const key = data.events.key[event] >= 0 ? data.events.key[event] : rows?.[0] ?? -1;
  const action = (label, act) => {
    const button = element("button", label);
    button.type = "button";
    button.addEventListener("click", act);
    box.append(button);
  };
  if (key >= 0) action(`only ${data.keys[key]}`, () => { $("by-key").value = data.keys[key]; filter(); });
  action("zoom to it", () => zoomTo(event));
}

function showMessage(arrow, place) {
  diagram.selectedArrow = arrow;
  diagram.cursor = data.messages.sent[place];
  list.scrollTo(list.placeOf(lowerBound(data.events.at, diagram.cursor)), true);
  $("details").replaceChildren(element("p", messageLine(place)));
  const rows = data.messages.rows.get(place);
  if (rows) $("details").append(element("p", carries(rows, 12), "soft"));
  redraw();
}

function carries(rows, most) {
  const more = rows.length > most ? `, … ${rows.length} rows` : "";
  return `carries ${rows.slice(0, most).map(key => data.keys[key]).join(", ")}${more}`;
}

/** Shows an event, and the way of its message, large. */
function zoomTo(event) {
  const { events, arrows } = data, at = events.at[event];
  const own = diagram.arrowsOf(events.message[event]);
  const from = Math.min(at, ...own.map(arrow => arrows.sent[arrow])), until = Math.max(at, ...own.map(arrow => arrows.end[arrow]));
  const span = Math.max(8 * (until - from), 8000);
  diagram.show((from + until) / 2 - span / 2, span);
  redraw();
}

function pointer() {
  const canvas = $("canvas"), tip = $("tip");
  let drag = null;
  const place = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointerdown", event => {
    const [x, y] = place(event);
    drag = { x, y, moved: 0 };
    canvas.setPointerCapture(event.pointerId);
    tip.hidden = true;
  });
  canvas.addEventListener("pointermove", event => {
    const [x, y] = place(event);
    if (!drag) return hover(x, y);
    drag.moved += Math.abs(x - drag.x) + Math.abs(y - drag.y);
    if (drag.moved > 3) {
      canvas.classList.add("dragging");
      diagram.pan(x - drag.x, y - drag.y);
      redraw();
    }
    [drag.x, drag.y] = [x, y];
  });
  canvas.addEventListener("pointerup", event => {
    const clicked = drag && drag.moved <= 3;
    drag = null;
    canvas.classList.remove("dragging");
    if (clicked) click(...place(event));
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; if (diagram.hovered) { diagram.hovered = null; redraw(); } });
  canvas.addEventListener("dblclick", event => { diagram.zoom(0.25, place(event)[0]); redraw(); });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const [x] = place(event), unit = event.deltaMode === 1 ? 16 : 1;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) diagram.pan(-(event.deltaX || event.deltaY) * unit, 0);
    else diagram.zoom(Math.exp(event.deltaY * unit * 0.0016), Math.max(GUTTER, x));
    tip.hidden = true;
    redraw();
  }, { passive: false });
}

function hover(x, y) {
  const tip = $("tip"), found = diagram.hit(x, y), before = JSON.stringify(diagram.hovered);
  diagram.hovered = found;
  $("canvas").classList.toggle("pointing", found !== null);
  if (JSON.stringify(found) !== before) redraw();
  tip.hidden = found === null;
  if (!found) return;
  tip.textContent = hoverText(found);
  const box = tip.parentElement.getBoundingClientRect();
  tip.style.left = `${Math.min(x + 14, box.width - tip.offsetWidth - 8)}px`;
  tip.style.top = `${y + 18 + tip.offsetHeight > box.height ? y - tip.offsetHeight - 10 : y + 18}px`;
}

function hoverText(found) {
  if (found.event !== undefined) return lines(found.event).join("\n");
  if (found.arrow !== undefined) {
    const place = data.arrows.message[found.arrow], rows = data.messages.rows.get(place);
    return rows ? `${messageLine(place)}\n${carries(rows, 6)}` : messageLine(place);
  }
  const span = data.spans[found.span];
  return `${span.text}\n${seconds(span.from)} s to ${span.until === null ? "the end" : `${seconds(span.until)} s`}, ${duration((span.until ?? data.end) - span.from)}`;
}

function click(x, y) {
  const found = diagram.hit(x, y);
  if (found?.event !== undefined) return choose(found.event, { center: true });
  if (found?.arrow !== undefined) {
    const place = data.arrows.message[found.arrow], event = data.messages.event[place];
    choose(event, { center: true });
    // A message that came to nothing may have no event: it is shown by itself.
    if (event < 0) showMessage(found.arrow, place);
    return;
  }
  if (found?.span !== undefined) {
    const { from, until } = data.spans[found.span], span = (until ?? data.end) - from;
    diagram.show(from - span * 0.15, Math.max(span * 1.3, 1000));
    return redraw();
  }
  if (x < GUTTER) {
    const node = Math.floor((y - diagram.top + diagram.offset) / diagram.lane);
    if (y < diagram.top - 6 || node >= data.nodes) return;
    $("by-node").value = diagram.focusNode === node ? "" : String(node);
    return filter();
  }
  choose(-1, {});
  diagram.cursor = diagram.time(x);
  list.scrollTo(list.placeOf(lowerBound(data.events.at, diagram.cursor)), true);
  redraw();
}

function clearFilters() {
  for (const id of ["by-node", "by-verb", "by-key"]) $(id).value = "";
  filter();
}

function keys() {
  const middle = () => GUTTER + (diagram.width - GUTTER) / 2;
  const acts = {
    ArrowLeft: event => diagram.pan(event.shiftKey ? 600 : 90, 0),
    ArrowRight: event => diagram.pan(event.shiftKey ? -600 : -90, 0),
    ArrowUp: () => diagram.pan(0, 60),
    ArrowDown: () => diagram.pan(0, -60),
    "+": () => diagram.zoom(0.6, middle()),
    "=": () => diagram.zoom(0.6, middle()),
    "-": () => diagram.zoom(1 / 0.6, middle()),
    0: () => diagram.fit(),
    Home: () => diagram.fit(),
    j: () => list.step(1),
    k: () => list.step(-1),
    v: () => data.run.violations.length && showViolation((violation + 1) % data.run.violations.length),
    "/": () => $("by-key").focus(),
    Escape: () => {
      if (!$("help").hidden) return toggleHelp();
      if (diagram.selected >= 0 || diagram.cursor !== null) choose(-1, {}); else clearFilters();
    },
  };
  document.addEventListener("keydown", event => {
    const typing = event.target.matches("input, select");
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
    if (event.target === $("list") && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      return list.step(event.key === "ArrowUp" ? -1 : 1);
    }
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    if (typing) event.target.blur();
    act(event);
    redraw();
  });
}

function toggleHelp() {
  $("help").hidden = !$("help").hidden;
  $("help-button").setAttribute("aria-expanded", String(!$("help").hidden));
}

function legend() {
  const box = $("legend");
  box.replaceChildren();
  const entry = (label, width, draw) => {
    const out = element("span", label), canvas = document.createElement("canvas"), ratio = window.devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = 14 * ratio;
    canvas.style.cssText = `width:${width}px;height:14px`;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    draw(context);
    out.prepend(canvas);
    box.append(out);
  };
  const { colors } = diagram;
  for (const [name, label] of [["push", "rows pushed"], ["session", "session"], ["greet", "greeting"], ["probe", "probe"], ["lost", "lost"]]) {
    entry(label, 22, context => {
      context.strokeStyle = context.fillStyle = colors[name];
      context.lineWidth = 1.4;
      line(context, 1, 2, name === "lost" ? 14 : 19, name === "lost" ? 8 : 11);
      context.beginPath();
      if (name === "lost") cross(context, 15, 8.5, 3, colors.lost); else head(context, 1, 2, 20, 12);
      context.fill();
    });
  }
  const marks = [["write", "write", 0], ["delete", "delete", 0], ["read", "read", 0], ["ack", "acked", -9], ["show", "shown", 0], ["hide", "hidden", 0], ["expire", "expired", 0],
    ["caught", "caught up", 9], ["suspect", "suspect", 10], ["dead", "dead", 10], ["crash", "crash", 0], ["start", "start", 0]];
  for (const [name, label, dy] of marks) {
    entry(label, 12, context => MARKS[name].draw(context, 6, 7 + dy, 4.2, colors[MARKS[name].color], colors.panel));
  }
  for (const [color, label, alpha] of [["cut-a", "side of a cut", 0.4], ["cut-b", "other side", 0.4], ["down", "not running", 0.4], ["trouble", "slow or lossy", 0.4]]) {
    entry(label, 16, context => { context.globalAlpha = alpha; context.fillStyle = colors[color]; context.fillRect(0, 2, 16, 10); });
  }
}

function resize() {
  diagram.resize();
  slider.resize();
  list.draw();
  redraw();
}

summarize();
fillFilters();
legend();
pointer();
keys();
describe(-1);
for (const id of ["by-node", "by-verb"]) $(id).addEventListener("change", filter);
$("by-key").addEventListener("input", filter);
$("filters").addEventListener("submit", event => event.preventDefault());
$("filters").addEventListener("reset", event => { event.preventDefault(); clearFilters(); });
$("fit").addEventListener("click", () => { diagram.fit(); redraw(); });
for (const [id, factor] of [["zoom-in", 0.5], ["zoom-out", 2]]) {
  $(id).addEventListener("click", () => { diagram.zoom(factor, GUTTER + (diagram.width - GUTTER) / 2); redraw(); });
}
$("help-button").addEventListener("click", toggleHelp);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { diagram.colors = palette(); legend(); redraw(); });
new ResizeObserver(resize).observe($("stage"));
resize();
filter();
