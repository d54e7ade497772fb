// The slider in time: the whole run in small, with the part that the diagram shows.

class Slider {
  constructor(canvas, diagram, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.diagram = diagram;
    this.changed = changed;
    this.grip = null;
    canvas.addEventListener("pointerdown", event => this.take(event));
    canvas.addEventListener("pointermove", event => this.move(event));
    canvas.addEventListener("pointerup", () => { this.grip = null; });
    canvas.addEventListener("pointercancel", () => { this.grip = null; });
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      const { diagram } = this;
      diagram.zoom(Math.exp(event.deltaY * 0.0016), diagram.x((diagram.start + diagram.stop) / 2));
      this.changed();
    }, { passive: false });
  }

  resize() {
    const ratio = window.devicePixelRatio || 1, box = this.canvas.getBoundingClientRect();
    this.width = box.width;
    this.height = box.height;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.columns = null;
  }

  x(us) { return GUTTER + us / this.diagram.data.end * (this.width - GUTTER - 8); }
  time(x) { return (x - GUTTER) / (this.width - GUTTER - 8) * this.diagram.data.end; }

  /** Events that pass the filters, per column of pixels. */
  histogram() {
    const { data, chosen } = this.diagram;
    const columns = new Uint32Array(Math.max(1, Math.ceil((this.width - GUTTER - 8) / 2)));
    for (const event of chosen.events) {
      columns[Math.min(columns.length - 1, Math.floor(data.events.at[event] / data.end * columns.length))]++;
    }
    this.columns = columns;
    this.tallest = Math.max(1, ...columns);
    this.of = chosen;
  }

  draw() {
    const { context, diagram } = this, { colors, data } = diagram;
    if (!this.columns || this.of !== diagram.chosen) this.histogram();
    context.clearRect(0, 0, this.width, this.height);
    const floor = this.height - 6, room = this.height - 18;
    for (const span of data.spans) {
      context.fillStyle = colors[span.kind === "crash" ? "down" : BANDS[span.kind]?.color ?? "trouble"];
      context.globalAlpha = 0.5;
      context.fillRect(this.x(span.from), 4, Math.max(1.5, this.x(span.until ?? data.end) - this.x(span.from)), 3);
    }
    context.globalAlpha = 1;
    context.fillStyle = colors.probe;
    this.columns.forEach((count, i) => {
      if (count === 0) return;
      const height = Math.max(1, Math.sqrt(count / this.tallest) * room);
      context.fillRect(GUTTER + i * 2, floor - height, 1.4, height);
    });
    for (const [, at] of data.run.violations) {
      context.fillStyle = colors.bad;
      context.fillRect(this.x(Math.min(at, data.end)) - 1, 2, 2.5, this.height - 6);
    }
    if (diagram.cursor !== null) {
      context.fillStyle = colors.focus;
      context.fillRect(this.x(diagram.cursor), 2, 1, this.height - 6);
    }
    this.drawWindow(context, colors);
    context.fillStyle = colors.soft;
    context.font = `11px ${colors.sans}`;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText("time", GUTTER - 8, this.height / 2);
    this.canvas.setAttribute("aria-valuemax", (data.end / 1e6).toFixed(3));
    this.canvas.setAttribute("aria-valuenow", (Math.max(0, diagram.start) / 1e6).toFixed(3));
    this.canvas.setAttribute("aria-valuetext", `${seconds(Math.max(0, diagram.start))} s to ${seconds(Math.min(data.end, diagram.stop))} s`);
  }

  window() {
    const { diagram } = this;
    const left = this.x(Math.max(0, diagram.start)), right = this.x(Math.min(diagram.data.end, diagram.stop));
    // A part too small to see can still be taken hold of.
    const spare = Math.max(0, 8 - (right - left)) / 2;
    return [left - spare, right + spare];
  }

  drawWindow(context, colors) {
    const [left, right] = this.window();
    context.fillStyle = colors.focus;
    context.globalAlpha = 0.12;
    context.fillRect(left, 1, right - left, this.height - 3);
    context.globalAlpha = 1;
    context.strokeStyle = colors.focus;
    context.lineWidth = 1;
    context.strokeRect(Math.round(left) + 0.5, 1.5, Math.round(right - left), this.height - 4);
    context.fillRect(left - 1.5, this.height / 2 - 7, 4, 14);
    context.fillRect(right - 2.5, this.height / 2 - 7, 4, 14);
  }

  take(event) {
    const [left, right] = this.window(), x = event.offsetX, { diagram } = this;
    const span = diagram.stop - diagram.start;
    this.canvas.setPointerCapture(event.pointerId);
    if (Math.abs(x - left) < 5 && right - left > 14) this.grip = { edge: "start" };
    else if (Math.abs(x - right) < 5 && right - left > 14) this.grip = { edge: "stop" };
    else {
      if (x < left || x > right) diagram.show(this.time(x) - span / 2, span);
      this.grip = { edge: null, from: this.time(x) - diagram.start };
    }
    this.changed();
  }

  move(event) {
    if (!this.grip) return;
    const { diagram } = this, at = this.time(event.offsetX);
    if (this.grip.edge === "start") diagram.show(Math.min(at, diagram.stop - MIN_SPAN), diagram.stop - Math.min(at, diagram.stop - MIN_SPAN));
    else if (this.grip.edge === "stop") diagram.show(diagram.start, at - diagram.start);
    else diagram.show(at - this.grip.from, diagram.stop - diagram.start);
    this.changed();
  }
}
