// What the server's metrics were in the last quarter of an hour, as long as this page was looked at.
//
// A sample is one array of numbers; where a series stands in it is the same for all samples. Nothing is asked for while the page is
// hidden, and a counter that has gone back (a restart) or a stretch without samples is a gap, not a value.

import { text } from "./api.js";
import { parse, quantile } from "./prometheus.js";

const KEPT_MS = 15 * 60 * 1000;
/** What "now" means for rates. */
const LATELY_MS = 10_000;
/** Numbers kept in all, 16 MiB of them: servers with very many shards are sampled less often. */
const NUMBERS_MAX = 2 * 1024 * 1024;

class History extends EventTarget {
  /** What the server said in place of metrics. */
  error = undefined;
  #samples = [];
  #places = new Map();
  #families = new Map();
  #shards = new Set();
  #timer;

  start() {
    document.addEventListener("visibilitychange", () => this.#next(0));
    this.#next(0);
  }

  get shards() {
    return [...this.#shards].sort((a, b) => a - b);
  }

  get latest() {
    return this.#samples.at(-1);
  }

  get count() {
    return this.#samples.length;
  }

  #next(wait) {
    clearTimeout(this.#timer);
    if (document.visibilityState === "visible") this.#timer = setTimeout(() => void this.#sample(), wait);
  }

  async #sample() {
    const began = Date.now();
    try {
      this.#take(await text("metrics"), began);
      this.error = undefined;
    } catch (refused) {
      this.error = refused;
    }
    this.dispatchEvent(new Event("sample"));
    const denied = this.error?.status === 401 || this.error?.status === 403;
    if (!denied) this.#next(Math.max(100, this.#everyMs() - (Date.now() - began)));
  }

  /** A second, or as much as keeps a quarter of an hour within the bound. */
  #everyMs() {
    return Math.max(1000, Math.ceil((KEPT_MS * this.#places.size) / NUMBERS_MAX / 1000) * 1000);
  }

  #take(body, at) {
    const values = [];
    parse(body, (name, labels, value) => (values[this.#place(name, labels)] = value));
    this.#samples.push({
      at,
      values: Float64Array.from({ length: this.#places.size }, (_, place) => values[place] ?? NaN),
    });
    while (this.#samples[0].at < at - KEPT_MS) this.#samples.shift();
  }

  #place(name, labels) {
    const key = `${name}{${Object.values(labels).join()}}`;
    let place = this.#places.get(key);
    if (place === undefined) {
      this.#places.set(key, (place = this.#places.size));
      const shard = labels.shard === undefined ? undefined : Number(labels.shard); // some are the whole server's
      if (shard !== undefined) this.#shards.add(shard);
      const { shard: _, ...rest } = labels;
      if (!this.#families.has(name)) this.#families.set(name, []);
      this.#families.get(name).push({ place, shard, labels: rest });
    }
    return place;
  }

  /** The names of all series, with their labels but the shard's. */
  get series() {
    return [...this.#families].flatMap(([name, places]) => {
      const kinds = new Map(places.map(({ labels }) => [JSON.stringify(labels), labels]));
      return [...kinds.values()].map((labels) => ({ name, labels }));
    });
  }

  #of(name, shard, labels = {}) {
    const wanted = Object.entries(labels);
    return (this.#families.get(name) ?? []).filter(
      (series) =>
        (shard === undefined || series.shard === shard) && wanted.every(([key, value]) => series.labels[key] === value),
    );
  }

  /** What it is now, over all shards or of one. */
  now(name, shard, labels) {
    const places = this.#of(name, shard, labels);
    return this.latest && places.length > 0 ? total(this.latest, places) : null;
  }

  /** The sample about `LATELY_MS` before the latest. */
  get #before() {
    const since = (this.latest?.at ?? 0) - LATELY_MS;
    return this.#samples.find(({ at }) => at >= since);
  }

  /** Of a counter, per second of the last ten. */
  rateNow(name, shard, labels) {
    const [before, places] = [this.#before, this.#of(name, shard, labels)];
    if (!before || before === this.latest) return null;
    const grown = total(this.latest, places) - total(before, places);
    return grown >= 0 ? (grown * 1000) / (this.latest.at - before.at) : null;
  }

  /** Of a histogram, a share of the values of the last ten seconds. */
  quantileNow(name, share, shard, labels) {
    const before = this.#before;
    return before && before !== this.latest
      ? this.#share(this.#buckets(name, shard, labels), share, before, this.latest)
      : null;
  }

  /** [bound, series], ascending. */
  #buckets(name, shard, labels) {
    const bounds = new Map();
    for (const series of this.#of(`${name}_bucket`, shard, labels)) {
      const bound = series.labels.le === "+Inf" ? Infinity : Number(series.labels.le);
      bounds.set(bound, [...(bounds.get(bound) ?? []), series]);
    }
    return [...bounds].sort(([a], [b]) => a - b);
  }

  #share(buckets, share, before, after) {
    return quantile(
      buckets.map(([bound, places]) => [bound, total(after, places) - total(before, places)]),
      share,
    );
  }

  /** Moments of the last `rangeMs`, `stepMs` apart, each with the sample that was the last one then. */
  #steps(rangeMs, stepMs) {
    const end = Math.floor((this.latest?.at ?? 0) / stepMs) * stepMs;
    const steps = [];
    let at = 0;
    for (let moment = end - rangeMs; moment <= end; moment += stepMs) {
      while (at < this.#samples.length && this.#samples[at].at <= moment) at++;
      const sample = this.#samples[at - 1];
      steps.push({
        moment,
        sample: sample && moment - sample.at < Math.max(2 * stepMs, 2 * this.#everyMs()) ? sample : undefined,
      });
    }
    return steps;
  }

  #pairs(rangeMs, stepMs, value) {
    const steps = this.#steps(rangeMs + stepMs, stepMs);
    return steps.slice(1).map(({ moment, sample }, at) => {
      const before = steps[at].sample;
      return [
        moment,
        sample && before && sample !== before ? value(before, sample, (sample.at - before.at) / 1000) : null,
      ];
    });
  }

  /** [moment, value] of a gauge. */
  level(name, { rangeMs, stepMs }, shard, labels) {
    const places = this.#of(name, shard, labels);
    return this.#steps(rangeMs, stepMs).map(({ moment, sample }) => [moment, sample ? total(sample, places) : null]);
  }

  /** [moment, per second] of a counter. */
  rate(name, { rangeMs, stepMs }, shard, labels) {
    const places = this.#of(name, shard, labels);
    return this.#pairs(rangeMs, stepMs, (before, after, seconds) => {
      const grown = total(after, places) - total(before, places);
      return grown >= 0 ? grown / seconds : null;
    });
  }

  /** [moment, value] of a share of a histogram's new values. */
  quantile(name, share, { rangeMs, stepMs }, shard, labels) {
    const buckets = this.#buckets(name, shard, labels);
    return this.#pairs(rangeMs, stepMs, (before, after) => this.#share(buckets, share, before, after));
  }
}

const total = ({ values }, places) => places.reduce((sum, { place }) => sum + (values[place] || 0), 0);

export const history = new History();
