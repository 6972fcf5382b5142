// Numbers and times as people read them.

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** The time of day. */
export const timeOf = (text) => clock.format(new Date(text));
/** Day and time. */
export const momentOf = (text) => whole.format(new Date(text));

/** How long ago: `now`, `5m`, `3h`, then the day. */
export function ago(text, now = Date.now()) {
  const seconds = Math.max(0, (now - new Date(text)) / 1000);
  if (seconds < 45) return "now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))}m`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)}h`;
  return day.format(new Date(text));
}

/** Three digits that matter: 0.42, 7.3, 118, 12.4k, 3.1M. */
export function brief(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return `${trimmed(value / 1e6)}M`;
  if (size >= 1e4) return `${trimmed(value / 1e3)}k`;
  return size >= 100 || Number.isInteger(value) ? String(Math.round(value)) : trimmed(value);
}

const trimmed = (value) => String(Number(value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2)));

/** Bytes by powers of 1024. */
export function bytes(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${trimmed(value)} ${units[unit]}`;
}

/** Milliseconds, or seconds from ten on. */
export const duration = (ms) =>
  ms == null || !Number.isFinite(ms) ? "–" : ms >= 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${brief(ms)} ms`;

/** The last characters of an id, enough to tell rows apart. */
export const short = (id) => id.slice(-6);
