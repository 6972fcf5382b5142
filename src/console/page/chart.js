// A line chart by hand: a scale of round numbers, gaps where there was nothing, and the values under the pointer.

import { el, replace, svg, write } from "./dom.js";
import { bytes } from "./words.js";

const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [132, 54, 4, 10, 18];

/** `lines` are names; `format` writes a value. */
export class Chart {
  #lines;
  #format;
  #values;
  #series = [];
  #width = 400;
  #at = null;
  #plot = svg("svg", { role: "img" });
  element;

  constructor(title, lines, format) {
    [this.#lines, this.#format] = [lines, format];
    this.#values = lines.map(() => el("span", {}));
    const legend = lines.map((name, at) =>
      el("span", { class: "legend" }, el("i", { class: `s${at % 8}` }), name, this.#values[at]),
    );
    this.element = el("figure", { class: "chart" }, el("figcaption", {}, el("b", {}, title), legend), this.#plot);
    this.#plot.setAttribute("aria-label", title);
    this.#plot.addEventListener("pointermove", (event) => this.#point(event));
    this.#plot.addEventListener("pointerleave", () => ((this.#at = null), this.#draw()));
    new ResizeObserver(([{ contentRect }]) => ((this.#width = contentRect.width), this.#draw())).observe(this.element);
  }

  /** One list of [moment, value or null] for each line, all of the same moments. */
  update(series) {
    this.#series = series;
    this.#draw();
  }

  #point({ offsetX }) {
    const count = this.#series[0]?.length ?? 0;
    const share = (offsetX - LEFT) / (this.#width - LEFT - RIGHT);
    this.#at = count > 0 ? Math.max(0, Math.min(count - 1, Math.round(share * (count - 1)))) : null;
    this.#draw();
  }

  #draw() {
    const [first] = this.#series;
    if (!first?.length || this.#width < 80) return;
    const [from, upto] = [first[0][0], first.at(-1)[0]];
    const all = this.#series.flatMap((line) => line.map(([, value]) => value ?? 0));
    const ticks = scale(Math.max(...all), this.#format === bytes);
    const x = (moment) => LEFT + ((moment - from) / (upto - from || 1)) * (this.#width - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - (value / ticks.at(-1)) * (HEIGHT - TOP - BOTTOM);
    this.#plot.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    const at = this.#at === null ? null : first[this.#at]?.[0];
    replace(
      this.#plot,
      ticks.map((tick) => [
        svg("line", { class: "grid", x1: LEFT, x2: this.#width - RIGHT, y1: y(tick), y2: y(tick) }),
        svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, this.#format(tick)),
      ]),
      moments(from, upto, at).map(([moment, words, anchor]) =>
        svg("text", { x: x(moment), y: HEIGHT - 3, "text-anchor": anchor }, words),
      ),
      at !== null && svg("line", { class: "cross", x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM }),
      this.#series.map((line, index) => [
        svg("path", { class: `plot s${index % 8}`, d: path(line, x, y) }),
        svg("path", { class: `plot dots s${index % 8}`, d: dots(line, x, y) }),
      ]),
    );
    this.#series.forEach((line, index) => {
      const value =
        this.#at === null ? line.slice(-3).findLast(([, value]) => value !== null)?.[1] : line[this.#at]?.[1];
      write(this.#values[index], value == null ? "–" : this.#format(value));
    });
  }
}

/** From 0 to a round number not below `most`, in two steps. */
function scale(most, isBinary) {
  if (!(most > 0)) return [0, 0.5, 1];
  const unit = isBinary && most >= 1 ? 1024 ** Math.floor(Math.log2(most) / 10) : 1;
  const power = unit * 10 ** Math.floor(Math.log10(most / unit));
  const top = [1, 2, 4, 5, 6, 8, 10].map((factor) => factor * power).find((value) => value >= most * 0.999) ?? most;
  return [0, top / 2, top];
}

/** How long ago the ends of the axis are, or the time under the pointer. */
function moments(from, upto, at) {
  if (at !== null)
    return [
      [
        at,
        new Date(at).toLocaleTimeString(undefined, { hour12: false }),
        at - from < (upto - from) / 8 ? "start" : at - from > ((upto - from) * 7) / 8 ? "end" : "middle",
      ],
    ];
  const ago = (moment) => `${Math.round((upto - moment) / 60_000)} min ago`;
  return [
    [from, ago(from), "start"],
    [upto, "now", "end"],
  ];
}

const at = ([moment, value], x, y) => `${x(moment).toFixed(1)} ${y(value).toFixed(1)}`;
const has = (point) => point != null && point[1] !== null;

/** A path that is lifted where there is no value. */
function path(line, x, y) {
  return line
    .map((point, index) => (has(point) ? `${has(line[index - 1]) ? "L" : "M"}${at(point, x, y)}` : ""))
    .join("");
}

/** Values without neighbours. */
function dots(line, x, y) {
  const isAlone = (point, index) => has(point) && !has(line[index - 1]) && !has(line[index + 1]);
  return line
    .filter(isAlone)
    .map((point) => `M${at(point, x, y)}h0.01`)
    .join("");
}
