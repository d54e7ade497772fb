// The trace as a list. Only the rows in sight are elements.

const ROW = 22;

class TraceList {
  constructor(box, data, choose) {
    this.box = box;
    this.inner = box.firstElementChild;
    this.data = data;
    this.choose = choose;
    this.places = new Uint32Array(0);
    this.selected = -1;
    this.pool = [];
    box.addEventListener("scroll", () => this.draw());
    box.addEventListener("click", event => {
      const row = event.target.closest(".row");
      if (row) choose(Number(row.dataset.event));
    });
  }

  show(places) {
    this.places = places;
    this.inner.style.height = `${Math.max(places.length * ROW, 1)}px`;
    this.draw();
  }

  /** The place in the list of an event, or of the first one after it. */
  placeOf(event) {
    let low = 0, high = this.places.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.places[middle] < event) low = middle + 1; else high = middle;
    }
    return low;
  }

  /** Selects an event and brings it, or where it would be, into sight. */
  select(event, center) {
    this.selected = event;
    if (event >= 0) this.scrollTo(this.placeOf(event), center);
    this.draw();
  }

  scrollTo(place, center) {
    const top = place * ROW, height = this.box.clientHeight;
    const seen = top >= this.box.scrollTop && top + ROW <= this.box.scrollTop + height;
    if (!seen || center) this.box.scrollTop = Math.max(0, top - height / 2);
  }

  step(by) {
    const { places } = this;
    if (places.length === 0) return;
    let place = this.selected < 0 ? 0 : this.placeOf(this.selected) + by;
    if (by > 0 && this.selected >= 0 && places[this.placeOf(this.selected)] !== this.selected) place -= 1;
    this.choose(places[Math.min(Math.max(place, 0), places.length - 1)]);
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4);
    const count = Math.min(this.places.length - first, Math.ceil(this.box.clientHeight / ROW) + 8);
    while (this.pool.length < count) this.pool.push(this.inner.appendChild(newRow()));
    this.pool.forEach((row, i) => {
      row.hidden = i >= count;
      if (!row.hidden) this.fill(row, first + i);
    });
  }

  fill(row, place) {
    const { data } = this, { events } = data, event = this.places[place], verb = events.verbs[events.verb[event]];
    const chosen = this.selected, message = events.message[event];
    const kin = chosen >= 0 && event !== chosen && ((events.key[event] >= 0 && events.key[event] === events.key[chosen])
      || (message >= 0 && message === events.message[chosen]));
    row.style.transform = `translateY(${place * ROW}px)`;
    row.className = `row${event === chosen ? " chosen" : ""}${kin ? " kin" : ""}`;
    row.dataset.event = event;
    row.setAttribute("aria-selected", event === chosen);
    const [at, who, what, rest] = row.children;
    at.textContent = seconds(events.at[event]);
    who.textContent = events.node[event] < 0 ? "–" : `n${events.node[event]}`;
    what.textContent = verb;
    what.style.color = colorOf(verb);
    rest.textContent = data.texts[events.text[event]];
  }
}

function newRow() {
  const row = document.createElement("div");
  row.setAttribute("role", "option");
  for (const name of ["at", "who", "verb", "rest"]) row.appendChild(document.createElement("span")).className = name;
  return row;
}

const BAD_VERBS = new Set(["lost", "swallowed", "dial_failed", "down", "refused_op", "crash", "member_down", "halt"]);

function colorOf(verb) {
  if (BAD_VERBS.has(verb)) return "var(--lost)";
  const mark = MARK_CLASS[verb];
  if (mark) return `var(--${MARKS[mark].color})`;
  const kind = KIND_CLASS[verb];
  return kind && kind !== "probe" ? `var(--${kind})` : "inherit";
}
