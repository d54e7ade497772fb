"use strict";
// The run as columns of numbers. Nothing here knows the screen.

const KIND_CLASS = {
  push: "push", pull: "session", page: "session", page_ack: "session", refused: "session",
  greeting: "greet", leave: "greet", probe: "probe", ack: "probe", indirect_probe: "probe", indirect_ack: "probe",
};
const MARK_CLASS = {
  put: "write", put_for: "write", delete: "delete", flush: "delete", get: "read", acked: "ack", shows: "show", hides: "hide", expires: "expire",
  crash: "crash", halt: "crash", start: "start", member_suspect: "suspect", member_down: "dead", member_evicted: "dead", evicted: "dead",
  joined: "caught", rejoined: "caught", caught_up: "caught",
};

/** The place of the first value that is not below `wanted`, in a sorted column seen through an optional index. */
function lowerBound(column, wanted, index) {
  let low = 0, high = index ? index.length : column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[index ? index[middle] : middle] < wanted) low = middle + 1; else high = middle;
  }
  return low;
}

function running(differences) {
  const out = new Float64Array(differences.length);
  let sum = 0;
  for (let i = 0; i < out.length; i++) out[i] = sum += differences[i];
  return out;
}

function readRun(text) {
  const raw = JSON.parse(text);
  const events = readEvents(raw);
  const messages = readMessages(raw);
  // The event that ends the way of each message, and the other way round by the event's own column.
  messages.event = new Int32Array(messages.count).fill(-1);
  for (let i = 0; i < events.count; i++) {
    const place = events.message[i];
    if (place >= 0 && messages.event[place] < 0) messages.event[place] = i;
  }
  const end = Math.max(raw.run.end_us, events.count ? events.at[events.count - 1] : 0, 1);
  return {
    run: raw.run, spans: raw.spans, keys: raw.keys, texts: raw.texts, events, messages,
    arrows: readArrows(raw.messages, messages), end: raw.run.cut_us ?? end, nodes: raw.run.nodes,
    down: downTimes(events, raw.run.nodes, raw.run.cut_us ?? end),
  };
}

function readEvents(raw) {
  const source = raw.events, count = source.at.length;
  const places = new Map();
  let number = 0;
  raw.messages.numbers.forEach((step, place) => places.set(number += step, place));
  return {
    count, firstSeq: source.first_seq, verbs: source.verbs, at: running(source.at),
    node: Int32Array.from(source.node, node => node - 1), verb: Uint16Array.from(source.verb),
    detail: Uint8Array.from(source.detail), text: Uint32Array.from(source.text),
    key: Int32Array.from(source.key, key => key - 1),
    message: Int32Array.from(source.message, own => own ? places.get(own) ?? -1 : -1),
    mark: source.verbs.map(verb => MARK_CLASS[verb] ?? null),
  };
}

function readMessages(raw) {
  const source = raw.messages;
  const rows = new Map();
  for (let i = 0; i < source.rows.length; i += 2 + source.rows[i + 1]) {
    rows.set(source.rows[i], source.rows.slice(i + 2, i + 2 + source.rows[i + 1]));
  }
  return {
    count: source.sent.length, number: running(source.numbers), sent: running(source.sent),
    from: Uint16Array.from(source.from), to: Uint16Array.from(source.to), link: source.link,
    kind: Uint8Array.from(source.kind), kinds: source.kinds, outcome: Uint8Array.from(source.outcome),
    outcomes: source.outcomes, detail: Uint8Array.from(source.detail), rows,
  };
}

/** One arrow per arrival, and one for each message that never arrived, as long as a usual one. In order of sending. */
function readArrows(source, messages) {
  const parts = [];
  const arrived = new Uint8Array(messages.count);
  const times = [];
  for (let i = 0; i < source.arrivals.length; i += 2) {
    const place = source.arrivals[i], took = source.arrivals[i + 1];
    arrived[place] = 1;
    parts.push([place, took, 0]);
    times.push(took);
  }
  times.sort((a, b) => a - b);
  const usual = times[times.length >> 1] ?? 1000;
  for (let place = 0; place < messages.count; place++) {
    const flying = messages.outcomes[messages.outcome[place]] === "flying";
    if (!arrived[place]) parts.push([place, usual, flying ? 0 : 1]);
  }
  parts.sort((a, b) => a[0] - b[0]);
  // A message that takes far longer than nearly all is looked at in every frame, so that the others are found by their time alone.
  const patience = 4 * (times[Math.floor(times.length * 0.995)] ?? usual) + 1;
  const out = {
    count: parts.length, message: new Uint32Array(parts.length), sent: new Float64Array(parts.length),
    end: new Float64Array(parts.length), lost: new Uint8Array(parts.length), patience,
    kindClass: new Array(parts.length),
  };
  parts.forEach(([place, took, lost], i) => {
    out.message[i] = place;
    out.sent[i] = messages.sent[place];
    out.end[i] = messages.sent[place] + took;
    out.lost[i] = lost;
    out.kindClass[i] = lost ? "lost" : KIND_CLASS[messages.kinds[messages.kind[place]]] ?? "probe";
  });
  return out;
}

/** Per node, when it did not run: before its first start, and from each crash to the next start. */
function downTimes(events, nodes, end) {
  const since = new Array(nodes).fill(0), out = [];
  const crashed = new Array(nodes).fill(false);
  for (let i = 0; i < events.count; i++) {
    const mark = events.mark[events.verb[i]], node = events.node[i];
    if (node < 0) continue;
    if (mark === "start" && since[node] !== null) {
      out.push({ node, from: since[node], until: events.at[i], crash: crashed[node] });
      since[node] = null;
    } else if (mark === "crash") {
      since[node] = events.at[i];
      crashed[node] = true;
    }
  }
  since.forEach((from, node) => from !== null && out.push({ node, from, until: end, crash: crashed[node] }));
  return out;
}

/** What passes the filters: places of events, and of arrows, apart for those that take unusually long. */
function select(data, filter) {
  const { events, messages, arrows } = data;
  const keys = filter.keys;
  const touches = place => {
    const rows = messages.rows.get(place);
    return rows !== undefined && rows.some(key => keys.has(key));
  };
  const messagePasses = place => {
    if (filter.story && messages.detail[place]) return false;
    if (filter.node !== null && messages.from[place] !== filter.node && messages.to[place] !== filter.node) return false;
    const verb = filter.verb;
    if (verb !== null && messages.kinds[messages.kind[place]] !== verb && messages.outcomes[messages.outcome[place]] !== verb) return false;
    return keys === null || touches(place);
  };
  const eventPasses = i => {
    if (filter.story && events.detail[i]) return false;
    const place = events.message[i];
    if (filter.node !== null && events.node[i] !== filter.node
      && !(place >= 0 && (messages.from[place] === filter.node || messages.to[place] === filter.node))) return false;
    if (filter.verb !== null && events.verbs[events.verb[i]] !== filter.verb) return false;
    return keys === null || keys.has(events.key[i]) || (place >= 0 && touches(place));
  };
  const chosen = [], usual = [], long = [];
  for (let i = 0; i < events.count; i++) if (eventPasses(i)) chosen.push(i);
  for (let i = 0; i < arrows.count; i++) {
    if (messagePasses(arrows.message[i])) (arrows.end[i] - arrows.sent[i] > arrows.patience ? long : usual).push(i);
  }
  const marked = chosen.filter(i => events.node[i] >= 0 && events.mark[events.verb[i]] !== null);
  return { events: Uint32Array.from(chosen), marks: Uint32Array.from(marked), arrows: Uint32Array.from(usual), long: Uint32Array.from(long) };
}

/** How a write spread: on which nodes its value was seen, and when on the last of them. */
function spread(data, event) {
  const { events } = data;
  const verb = events.verbs[events.verb[event]], key = events.key[event];
  if (key < 0 || !["put", "put_for", "delete"].includes(verb)) return null;
  const seen = new Map();
  const wanted = verb === "delete" ? "hides" : "shows";
  for (let i = event + 1; i < events.count && seen.size < data.nodes; i++) {
    if (events.key[i] !== key) continue;
    const own = events.verbs[events.verb[i]];
    const same = own === wanted && (wanted === "hides" || events.text[i] === events.text[event]);
    if (same && !seen.has(events.node[i])) seen.set(events.node[i], events.at[i]);
    // The next operation on the key ends what this one can reach.
    if (["put", "put_for", "delete"].includes(own)) break;
  }
  return { nodes: seen.size, last: Math.max(events.at[event], ...seen.values()) };
}

/** Microseconds as seconds; with a unit when they are a duration. */
function seconds(us) { return (us / 1e6).toFixed(6); }
function duration(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${(us / 1e3).toFixed(us < 1e4 ? 2 : 1)} ms`;
  return `${(us / 1e6).toFixed(us < 1e7 ? 2 : 1)} s`;
}
