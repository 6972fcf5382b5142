// Reads the text that Prometheus reads.

const LINE = /^([a-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/i;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Calls `take(name, labels, value)` for every series. */
export function parse(text, take) {
  for (const line of text.split("\n")) {
    if (line === "" || line[0] === "#") continue;
    const [, name, list, value] = line.match(LINE) ?? [];
    if (name === undefined) continue;
    const labels = {};
    for (const [, key, text] of (list ?? "").matchAll(LABEL)) labels[key] = text;
    take(name, labels, Number(value));
  }
}

/** The value below which `share` of a histogram lies: between the bounds of its bucket by rule of three. `buckets` are [bound, count below], ascending. */
export function quantile(buckets, share) {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (!(total > 0)) return null;
  const rank = share * total;
  let [low, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= rank)
      return bound === Infinity ? low : low + ((bound - low) * (rank - below)) / Math.max(count - below, 1e-9);
    [low, below] = [bound, count];
  }
  return low;
}
