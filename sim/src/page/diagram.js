// The space-time diagram: time from left to right, a lane per node. Draws only what the visible time needs.

const GUTTER = 50, AXIS = 24, BAR = 15, MAX_BARS = 6, MIN_LANE = 20, MIN_SPAN = 20;
/** More arrows than this in one frame say nothing more; then every second, third, ... is drawn, and the diagram says so. */
const MAX_ARROWS = 3000;
const MAX_HITS = 4000;

class Diagram {
  constructor(canvas, data, colors) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.data = data;
    this.colors = colors;
    this.chosen = select(data, { node: null, verb: null, keys: null, story: true });
    this.selected = -1;
    this.selectedArrow = -1;
    this.hovered = null;
    this.cursor = null;
    this.offset = 0;
    this.bars = packBars(data.spans, data.end);
    this.fit();
  }

  fit() {
    const margin = this.data.end * 0.012;
    this.start = -margin;
    this.stop = this.data.end + margin;
  }

  resize() {
    const ratio = window.devicePixelRatio || 1, box = this.canvas.parentElement.getBoundingClientRect();
    this.width = box.width;
    this.height = box.height;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.top = AXIS + this.bars.rows * BAR + 8;
    const room = this.height - this.top - 14;
    this.lane = Math.max(MIN_LANE, room / this.data.nodes);
    this.offset = Math.min(this.offset, this.overflow());
  }

  overflow() { return Math.max(0, this.lane * this.data.nodes - (this.height - this.top - 14)); }
  x(us) { return GUTTER + (us - this.start) / (this.stop - this.start) * (this.width - GUTTER); }
  time(x) { return this.start + (x - GUTTER) / (this.width - GUTTER) * (this.stop - this.start); }
  y(node) { return this.top + (node + 0.5) * this.lane - this.offset; }

  /** Shows from `start` for `span` microseconds, within the run. */
  show(start, span) {
    const margin = this.data.end * 0.012, whole = this.data.end + 2 * margin;
    span = Math.min(Math.max(span, MIN_SPAN), whole);
    start = Math.min(Math.max(start, -margin), this.data.end + margin - span);
    this.start = start;
    this.stop = start + span;
  }

  zoom(factor, x) {
    const at = this.time(x), span = (this.stop - this.start) * factor;
    const share = (x - GUTTER) / (this.width - GUTTER);
    this.show(at - Math.min(Math.max(span, MIN_SPAN), this.data.end * 1.024) * share, span);
  }

  pan(dx, dy) {
    const span = this.stop - this.start;
    this.show(this.start - dx / (this.width - GUTTER) * span, span);
    this.offset = Math.min(Math.max(0, this.offset - dy), this.overflow());
  }

  /** Makes sure that a time, and a node if one is named, is on the screen. */
  reveal(us, node) {
    const span = this.stop - this.start;
    if (us < this.start + span * 0.04 || us > this.stop - span * 0.04) this.show(us - span / 2, span);
    if (node !== null && node >= 0 && this.overflow() > 0) {
      const y = this.y(node);
      if (y < this.top + 10 || y > this.height - 20) {
        this.offset = Math.min(Math.max(0, this.offset + y - this.height / 2), this.overflow());
      }
    }
  }

  draw() {
    const { context } = this;
    context.clearRect(0, 0, this.width, this.height);
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, this.width - GUTTER, this.height);
    context.clip();
    this.drawTicks();
    context.save();
    context.beginPath();
    context.rect(GUTTER, this.top - 6, this.width - GUTTER, this.height - this.top + 6);
    context.clip();
    this.drawBands();
    this.drawLanes();
    const skipped = this.drawArrows();
    this.drawMarks();
    this.drawSelection();
    context.restore();
    this.drawBars();
    this.drawMoments();
    context.restore();
    this.drawNames();
    this.drawNote(skipped);
  }

  drawTicks() {
    const { context, colors } = this;
    const rough = (this.stop - this.start) / Math.max(2, (this.width - GUTTER) / 120);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = Math.max(1, [1, 2, 5, 10].find(times => times * power >= rough) * power);
    const digits = Math.max(0, 6 - Math.floor(Math.log10(step) + 1e-9));
    context.font = `11px ${colors.sans}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 1;
    for (let us = Math.max(0, Math.ceil(this.start / step) * step); us <= Math.min(this.stop, this.data.end); us += step) {
      const x = Math.round(this.x(us)) + 0.5;
      context.strokeStyle = colors.line;
      line(context, x, AXIS - 4, x, this.height);
      if (x > this.width - 24 || x < GUTTER + 8) continue;
      context.fillStyle = colors.soft;
      context.fillText(`${(us / 1e6).toFixed(Math.min(6, digits))} s`, x, 11);
    }
  }

  drawBands() {
    const { context, colors, data } = this;
    const band = (node, from, until, color, alpha) => {
      const left = Math.max(GUTTER, this.x(from)), right = Math.min(this.width, this.x(until));
      if (right < GUTTER || left > this.width) return;
      context.globalAlpha = alpha;
      context.fillStyle = color;
      context.fillRect(left, this.y(node) - this.lane / 2 + 1, Math.max(1, right - left), this.lane - 2);
    };
    for (const span of data.spans) {
      const until = span.until ?? data.end;
      if (until < this.start || span.from > this.stop) continue;
      if (span.kind === "crash") continue;
      const style = BANDS[span.kind] ?? { color: "trouble", alpha: 0.13 };
      for (const node of span.nodes) band(node, span.from, until, colors[style.color], style.alpha);
      for (const node of span.others) band(node, span.from, until, colors[style.other ?? style.color], style.alpha);
    }
    for (const gap of data.down) {
      if (gap.until >= this.start && gap.from <= this.stop) band(gap.node, gap.from, gap.until, colors.down, gap.crash ? 0.32 : 0.1);
    }
    context.globalAlpha = 1;
  }

  drawLanes() {
    const { context, colors, data } = this;
    const left = Math.max(GUTTER, this.x(0)), right = Math.min(this.width, this.x(data.end));
    context.strokeStyle = colors.lane;
    context.lineWidth = 1.5;
    context.beginPath();
    for (let node = 0; node < data.nodes; node++) {
      context.moveTo(left, this.y(node));
      context.lineTo(right, this.y(node));
    }
    context.stroke();
    // A node that does not run has no lane.
    context.lineWidth = 3;
    context.strokeStyle = colors.paper;
    context.setLineDash([2, 3]);
    for (const gap of data.down) {
      const from = Math.max(left, this.x(gap.from)), until = Math.min(right, this.x(gap.until));
      if (until > from) line(context, from, this.y(gap.node), until, this.y(gap.node));
    }
    context.setLineDash([]);
  }

  /** Calls `take` with each visible arrow, or every so many; returns how many stand for one. */
  eachArrow(limit, take) {
    const { arrows } = this.data, index = this.chosen.arrows;
    const low = lowerBound(arrows.sent, this.start - arrows.patience, index), high = lowerBound(arrows.sent, this.stop, index);
    const stride = Math.max(1, Math.ceil((high - low) / limit));
    // Multiples of the stride, so that panning does not change which are drawn.
    for (let i = Math.ceil(low / stride) * stride; i < high; i += stride) {
      if (arrows.end[index[i]] >= this.start) take(index[i]);
    }
    for (const arrow of this.chosen.long) {
      if (arrows.sent[arrow] <= this.stop && arrows.end[arrow] >= this.start) take(arrow);
    }
    return stride;
  }

  /** Both ends of an arrow on the screen. One that never arrives ends half way. */
  ends(arrow) {
    const { arrows, messages } = this.data, place = arrows.message[arrow];
    const share = arrows.lost[arrow] ? 0.5 : 1;
    const x0 = this.x(arrows.sent[arrow]), y0 = this.y(messages.from[place]);
    const x1 = this.x(arrows.end[arrow]), y1 = this.y(messages.to[place]);
    return [x0, y0, x0 + (x1 - x0) * share, y0 + (y1 - y0) * share];
  }

  drawArrows() {
    const { context, colors, data } = this;
    const groups = new Map();
    let count = 0;
    const stride = this.eachArrow(MAX_ARROWS, arrow => {
      const name = data.arrows.kindClass[arrow];
      const group = groups.get(name);
      if (group) group.push(arrow); else groups.set(name, [arrow]);
      count++;
    });
    const density = count * stride / Math.max(1, this.width - GUTTER);
    context.lineWidth = density > 2 ? 0.8 : 1.2;
    for (const name of ["probe", "session", "greet", "push", "lost"]) {
      const group = groups.get(name);
      if (!group) continue;
      context.strokeStyle = context.fillStyle = colors[name];
      context.globalAlpha = Math.min(0.9, Math.max(name === "lost" ? 0.25 : 0.06, 0.75 / Math.max(1, density) ** 0.7));
      this.drawGroup(group, count * stride < 500, name === "lost");
    }
    context.globalAlpha = 1;
    return stride;
  }

  drawGroup(group, heads, lost) {
    const { context } = this;
    context.beginPath();
    for (const arrow of group) {
      const [x0, y0, x1, y1] = this.ends(arrow);
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      if (lost && heads) {
        context.moveTo(x1 - 3.5, y1 - 3.5); context.lineTo(x1 + 3.5, y1 + 3.5);
        context.moveTo(x1 + 3.5, y1 - 3.5); context.lineTo(x1 - 3.5, y1 + 3.5);
      }
    }
    context.stroke();
    if (!heads || lost) return;
    context.beginPath();
    for (const arrow of group) head(context, ...this.ends(arrow));
    context.fill();
  }

  drawMarks() {
    const { context, colors, data } = this;
    const { events } = data, index = this.chosen.marks;
    const margin = (this.stop - this.start) / (this.width - GUTTER) * 8;
    const low = lowerBound(events.at, this.start - margin, index), high = lowerBound(events.at, this.stop + margin, index);
    // The more there are, the smaller, so that a whole run is a texture and not a wall.
    const density = (high - low) / data.nodes / (this.width - GUTTER), crowd = Math.min(1, Math.max(0.45, 0.3 / Math.sqrt(density + 1e-9)));
    const size = Math.max(1.8, Math.min(4.5, this.lane / 9) * crowd), gap = 1 / crowd;
    const last = new Map();
    // Minor marks first, so that what matters lies on top.
    for (const rank of [0, 1, 2]) {
      last.clear();
      for (let i = low; i < high; i++) {
        const event = index[i], mark = MARKS[events.mark[events.verb[event]]];
        if (mark.rank !== rank) continue;
        const x = this.x(events.at[event]), slot = events.node[event] * 16 + mark.slot;
        if (x - (last.get(slot) ?? -99) < mark.gap * gap) continue;
        last.set(slot, x);
        const big = mark.rare ? Math.max(size, 3.6) : size;
        mark.draw(context, x, this.y(events.node[event]), big, colors[mark.color], crowd < 0.8 && !mark.rare ? null : colors.paper);
      }
    }
  }

  drawSelection() {
    const { context, colors, data } = this;
    const { events } = data;
    const halo = (event, radius, width) => {
      if (events.node[event] < 0) return;
      context.lineWidth = width;
      context.beginPath();
      context.arc(this.x(events.at[event]), this.y(events.node[event]), radius, 0, 2 * Math.PI);
      context.stroke();
    };
    if (this.cursor !== null) {
      context.strokeStyle = colors.focus;
      context.globalAlpha = 0.6;
      context.lineWidth = 1;
      line(context, this.x(this.cursor), this.top - 6, this.x(this.cursor), this.height);
      context.globalAlpha = 1;
    }
    const bold = new Set();
    if (this.hovered?.arrow !== undefined) bold.add(this.hovered.arrow);
    if (this.selectedArrow >= 0) bold.add(this.selectedArrow);
    if (this.selected >= 0) {
      context.strokeStyle = colors.focus;
      halo(this.selected, 8.5, 2);
      for (const arrow of this.arrowsOf(events.message[this.selected])) bold.add(arrow);
      context.globalAlpha = 0.75;
      for (const kin of this.kin()) halo(kin, 6, 1.2);
      context.globalAlpha = 1;
    }
    for (const arrow of bold) {
      context.strokeStyle = context.fillStyle = colors[data.arrows.kindClass[arrow]];
      context.lineWidth = 2.6;
      line(context, ...this.ends(arrow));
      context.beginPath();
      head(context, ...this.ends(arrow));
      context.fill();
    }
  }

  /** The events in sight that are about the selected event's key. */
  kin() {
    const { events } = this.data, key = events.key[this.selected], index = this.chosen.marks;
    if (key < 0) return [];
    const out = [];
    for (let i = lowerBound(events.at, this.start, index); i < index.length && events.at[index[i]] <= this.stop && out.length < 400; i++) {
      if (events.key[index[i]] === key) out.push(index[i]);
    }
    return out;
  }

  arrowsOf(place) {
    if (place < 0) return [];
    const { arrows } = this.data, out = [];
    for (let i = lowerBound(arrows.message, place); i < arrows.count && arrows.message[i] === place; i++) out.push(i);
    return out;
  }

  drawBars() {
    const { context, colors, data } = this;
    context.font = `10.5px ${colors.sans}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    data.spans.forEach((span, i) => {
      const until = span.until ?? data.end;
      if (until < this.start || span.from > this.stop) return;
      const left = Math.max(GUTTER, this.x(span.from)), right = Math.min(this.width, this.x(until));
      const y = AXIS + this.bars.row[i] * BAR, width = Math.max(2, right - left);
      const color = span.kind === "crash" ? "down" : BANDS[span.kind]?.color ?? "trouble";
      context.globalAlpha = this.hovered?.span === i ? 0.75 : 0.4;
      context.fillStyle = colors[color];
      context.beginPath();
      context.roundRect(left, y + 1, width, BAR - 3, 3);
      context.fill();
      context.globalAlpha = 1;
      const label = context.measureText(span.text).width + 10 < width ? span.text : span.kind;
      if (context.measureText(label).width + 8 > width) return;
      context.fillStyle = colors.ink;
      context.fillText(label, left + 4, y + BAR / 2 + 0.5);
    });
  }

  /** Moments of the whole cluster: heals, rest, broken promises, the end of the recording. */
  drawMoments() {
    const { context, colors, data } = this;
    const flag = (us, color, label, dash) => {
      const x = Math.round(this.x(us)) + 0.5;
      if (x < GUTTER || x > this.width) return;
      context.strokeStyle = context.fillStyle = color;
      context.lineWidth = 1.5;
      context.setLineDash(dash);
      line(context, x, AXIS - 4, x, this.height);
      context.setLineDash([]);
      if (label === null) return;
      context.font = `600 11px ${colors.sans}`;
      const width = context.measureText(label).width + 10, left = Math.min(x, this.width - width);
      context.beginPath();
      context.roundRect(left, this.top - 6, width, 15, 3);
      context.fill();
      context.fillStyle = colors.paper;
      context.textAlign = "left";
      context.fillText(label, left + 5, this.top + 2);
    };
    const { events } = data;
    for (const i of this.moments ??= moments(data)) {
      const verb = events.verbs[events.verb[i]], text = data.texts[events.text[i]];
      if (verb === "at_rest") flag(events.at[i], text === "is=1" ? colors.good : colors.bad, text === "is=1" ? "converged" : "not at rest", [5, 4]);
      else flag(events.at[i], colors.caught, null, [2, 4]);
    }
    const counts = new Map();
    for (const [, at] of data.run.violations) counts.set(at, (counts.get(at) ?? 0) + 1);
    for (const [at, count] of counts) flag(Math.min(at, data.end), colors.bad, count === 1 ? "violation" : `${count} violations`, []);
    if (data.run.cut_us !== null) flag(data.run.cut_us, colors["cut-a"], "recording ends", [3, 3]);
  }

  drawNames() {
    const { context, colors, data } = this;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.font = `600 12px ${colors.sans}`;
    context.save();
    context.beginPath();
    context.rect(0, this.top - 6, GUTTER, this.height);
    context.clip();
    for (let node = 0; node < data.nodes; node++) {
      context.fillStyle = this.focusNode === node ? colors.focus : colors.ink;
      context.fillText(`n${node}`, GUTTER - 12, this.y(node));
    }
    context.restore();
    if (this.bars.rows > 0) {
      context.fillStyle = colors.soft;
      context.font = `11px ${colors.sans}`;
      context.fillText("faults", GUTTER - 8, AXIS + BAR / 2);
    }
  }

  drawNote(stride) {
    if (stride === 1) return;
    const { context, colors } = this;
    const text = `1 of ${stride} messages drawn: zoom in for all`;
    context.font = `11px ${colors.sans}`;
    context.textAlign = "left";
    const width = context.measureText(text).width + 14;
    context.globalAlpha = 0.88;
    context.fillStyle = colors.panel;
    context.beginPath();
    context.roundRect(GUTTER + 8, this.height - 44, width, 20, 5);
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = colors.soft;
    context.fillText(text, GUTTER + 15, this.height - 33.5);
  }

  /** What lies under a point: an event, an arrow, a fault, or null. */
  hit(x, y) {
    const { data } = this, { events } = data;
    if (x < GUTTER) return null;
    if (y < this.top - 6) {
      const row = Math.floor((y - AXIS) / BAR), at = this.time(x), slack = (this.stop - this.start) / this.width * 3;
      const span = data.spans.findIndex((own, i) => this.bars.row[i] === row && own.from - slack <= at && (own.until ?? data.end) + slack >= at);
      return span < 0 ? null : { span };
    }
    const index = this.chosen.marks, reach = 7;
    let best = null, nearest = reach * reach;
    const low = lowerBound(events.at, this.time(x - reach), index), high = lowerBound(events.at, this.time(x + reach), index);
    for (let i = low; i < Math.min(high, low + MAX_HITS); i++) {
      const event = index[i], dx = this.x(events.at[event]) - x, dy = this.y(events.node[event]) - y;
      const rank = MARKS[events.mark[events.verb[event]]].rank, far = dx * dx + dy * dy - rank * 4;
      if (far < nearest) { nearest = far; best = { event }; }
    }
    if (best) return best;
    let close = 4.5;
    this.eachArrow(MAX_ARROWS, arrow => {
      const far = distance(x, y, ...this.ends(arrow));
      if (far < close) { close = far; best = { arrow }; }
    });
    return best;
  }
}

const BANDS = {
  partition: { color: "cut-a", other: "cut-b", alpha: 0.17 },
  oneway: { color: "cut-b", other: "cut-a", alpha: 0.1 },
  partial: { color: "cut-a", other: "cut-b", alpha: 0.14 },
  bridge: { color: "cut-a", other: "cut-b", alpha: 0.14 },
  flap: { color: "cut-a", other: "cut-b", alpha: 0.1 },
  pause: { color: "down", alpha: 0.2 },
  slow: { color: "trouble", alpha: 0.1 },
  congest: { color: "trouble", alpha: 0.1 },
  faildisk: { color: "trouble", alpha: 0.18 },
  slowdisk: { color: "trouble", alpha: 0.1 },
  fulldisk: { color: "trouble", alpha: 0.18 },
  rot: { color: "trouble", alpha: 0.18 },
  leave: { color: "greet", alpha: 0.12 },
  evict: { color: "greet", alpha: 0.12 },
  delay: { color: "trouble", alpha: 0.14 },
  skew: { color: "greet", alpha: 0.09 },
};

/** Marks on a lane: `rank` is what lies on top, `gap` how near two of a kind are drawn; rare ones stay large in a crowd. */
const MARKS = {
  show: { rank: 0, slot: 0, gap: 2, color: "write", draw: (c, x, y, s, color) => disc(c, x, y, s * 0.5, color) },
  hide: { rank: 0, slot: 1, gap: 2, color: "delete", draw: (c, x, y, s, color) => diamond(c, x, y, s * 0.6, color) },
  expire: { rank: 0, slot: 2, gap: 3, color: "expire", draw: (c, x, y, s, color) => diamond(c, x, y, s * 0.7, color) },
  read: { rank: 0, slot: 11, gap: 3, color: "soft", draw: (c, x, y, s, color, paper) => disc(c, x, y, s * 0.75, paper ?? color, color) },
  caught: { rank: 1, slot: 3, gap: 4, color: "caught", draw: (c, x, y, s, color) => square(c, x, y - s * 2, s * 0.8, color) },
  ack: { rank: 1, slot: 4, gap: 4, color: "ack", draw: (c, x, y, s, color) => check(c, x, y + s * 2, s, color) },
  suspect: { rare: true, rank: 1, slot: 5, gap: 4, color: "cut-a", draw: (c, x, y, s, color) => triangle(c, x, y - s * 2.4, s, color) },
  dead: { rare: true, rank: 1, slot: 6, gap: 4, color: "bad", draw: (c, x, y, s, color) => triangle(c, x, y - s * 2.4, s, color) },
  write: { rank: 2, slot: 7, gap: 3, color: "write", draw: (c, x, y, s, color, paper) => disc(c, x, y, s, color, paper) },
  delete: { rank: 2, slot: 8, gap: 3, color: "delete", draw: (c, x, y, s, color, paper) => diamond(c, x, y, s * 1.25, color, paper) },
  start: { rare: true, rank: 2, slot: 9, gap: 4, color: "ink", draw: (c, x, y, s, color, paper) => play(c, x, y, s * 1.3, color, paper) },
  crash: { rare: true, rank: 2, slot: 10, gap: 4, color: "bad", draw: (c, x, y, s, color) => cross(c, x, y, s * 1.2, color) },
};

function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
function head(context, x0, y0, x1, y1) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (length < 14) return;
  const ux = (x1 - x0) / length, uy = (y1 - y0) / length;
  context.moveTo(x1, y1);
  context.lineTo(x1 - ux * 7 - uy * 2.8, y1 - uy * 7 + ux * 2.8);
  context.lineTo(x1 - ux * 7 + uy * 2.8, y1 - uy * 7 - ux * 2.8);
  context.closePath();
}
function shape(context, color, edge, path) {
  context.beginPath();
  path();
  context.fillStyle = color;
  context.fill();
  if (!edge) return;
  context.strokeStyle = edge;
  context.lineWidth = 1;
  context.stroke();
}
function polygon(context, color, edge, points) {
  shape(context, color, edge, () => {
    points.forEach(([x, y], i) => i ? context.lineTo(x, y) : context.moveTo(x, y));
    context.closePath();
  });
}
function disc(context, x, y, s, color, edge) { shape(context, color, edge, () => context.arc(x, y, s, 0, 2 * Math.PI)); }
function diamond(context, x, y, s, color, edge) { polygon(context, color, edge, [[x, y - s], [x + s, y], [x, y + s], [x - s, y]]); }
function square(context, x, y, s, color) { polygon(context, color, null, [[x - s, y - s], [x + s, y - s], [x + s, y + s], [x - s, y + s]]); }
function triangle(context, x, y, s, color) { polygon(context, color, null, [[x - s, y - s], [x + s, y - s], [x, y + s * 0.8]]); }
function play(context, x, y, s, color, edge) { polygon(context, color, edge, [[x - s * 0.7, y - s], [x + s, y], [x - s * 0.7, y + s]]); }
function cross(context, x, y, s, color) {
  context.strokeStyle = color;
  context.lineWidth = 2.2;
  line(context, x - s, y - s, x + s, y + s);
  line(context, x - s, y + s, x + s, y - s);
}
function check(context, x, y, s, color) {
  context.strokeStyle = color;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x - s * 0.8, y);
  context.lineTo(x - s * 0.2, y + s * 0.7);
  context.lineTo(x + s * 0.9, y - s * 0.7);
  context.stroke();
}
function distance(x, y, x0, y0, x1, y1) {
  const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy || 1;
  const share = Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length));
  return Math.hypot(x - x0 - share * dx, y - y0 - share * dy);
}
function moments(data) {
  const { events } = data, wanted = new Set(["at_rest", "heals"]), out = [];
  for (let i = 0; i < events.count; i++) if (events.node[i] < 0 && wanted.has(events.verbs[events.verb[i]])) out.push(i);
  return out;
}

/** A row for each fault, so that as few as possible share one. */
function packBars(spans, end) {
  const free = [], row = spans.map(span => {
    let place = free.findIndex(until => until <= span.from);
    if (place < 0) place = free.length < MAX_BARS ? free.length : MAX_BARS - 1;
    free[place] = Math.max(free[place] ?? 0, span.until ?? end);
    return place;
  });
  return { row, rows: free.length };
}
