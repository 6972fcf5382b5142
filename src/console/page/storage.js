// The log of each shard and the disk below it.

import { health } from "./api.js";
import { Chart } from "./chart.js";
import { Disk } from "./disk.js";
import { el, replace } from "./dom.js";
import { history } from "./history.js";
import { fill, page, parted, said, tiles } from "./metrics.js";
import { brief, bytes, duration } from "./words.js";

const SPAN = { rangeMs: 300_000, stepMs: 2000 };
const SYNC = "fleetlm_sync_duration";
const HEALTH_EVERY_MS = 3000;

const figures = () => [
  ["In the log", ...bytes(history.now("fleetlm_log_bytes")).split(" ")],
  ["Segments", brief(history.now("fleetlm_log_segments")), ""],
  ["Messages", brief(history.rateNow("fleetlm_messages_appended_total")), "/s"],
  ["Syncs", brief(history.rateNow("fleetlm_syncs_total")), "/s"],
  ["One sync, p99", ...parted(history.quantileNow(SYNC, 0.99))],
  ["Wait for a sync", brief(history.now("fleetlm_pending_commits")), ""],
];

const COLUMNS = [
  ["Log", (shard) => bytes(history.now("fleetlm_log_bytes", shard))],
  ["Segments", (shard) => brief(history.now("fleetlm_log_segments", shard))],
  ["Sessions", (shard) => brief(history.now("fleetlm_sessions", shard))],
  ["Syncs/s", (shard) => brief(history.rateNow("fleetlm_syncs_total", shard))],
  ["Sync p50", (shard) => duration(history.quantileNow(SYNC, 0.5, shard))],
  ["Sync p99", (shard) => duration(history.quantileNow(SYNC, 0.99, shard))],
  ["Messages/sync", (shard) => brief(perSync(shard))],
  ["Pending", (shard) => brief(history.now("fleetlm_pending_commits", shard))],
  ["Failed syncs", (shard) => brief(history.now("fleetlm_sync_failures_total", shard))],
  ["Corrupt places", (shard) => brief(history.now("fleetlm_log_corruptions", shard))],
  ["State", stateOf],
];

/** How many messages one sync of this shard made durable: group commit at work. */
function perSync(shard) {
  const syncs = history.rateNow("fleetlm_syncs_total", shard);
  return syncs > 0 ? history.rateNow("fleetlm_messages_appended_total", shard) / syncs : null;
}

function stateOf(shard) {
  if (history.now("fleetlm_log_poisoned", shard) > 0) return "poisoned";
  if (history.now("fleetlm_disk_full", shard) > 0) return "disk full";
  return history.now("fleetlm_log_corruptions", shard) > 0 ? "corrupt" : "good";
}

export class Storage {
  #timer;
  #tiles = el("dl", { class: "tiles" });
  #note = el("p", { class: "notice bad", role: "status", hidden: true });
  #health = el("div", { role: "status" });
  #table = el("div", { class: "table", tabIndex: 0, role: "region", "aria-label": "Shards" });
  #size = new Chart("Bytes in the log", ["all shards"], bytes);
  #sync = new Chart("One sync of the disk", ["p50", "p99"], duration);
  #syncs = new Chart("Syncs a second", ["all shards"], brief);
  #fill = new Chart("Messages made durable by one sync", ["all shards"], brief);
  #disk = new Disk();
  element = page(
    [el("h1", {}, "Storage"), el("span", { class: "grow" }), this.#health],
    this.#note,
    this.#tiles,
    el(
      "div",
      { class: "charts" },
      [this.#size, this.#sync, this.#syncs, this.#fill].map(({ element }) => element),
    ),
    el("h2", { class: "section" }, "Log of each shard"),
    this.#table,
    this.#disk.element,
    el(
      "p",
      { class: "after muted" },
      el("code", {}, "fleetlm check DIR"),
      " reads every record of every segment and names what does not verify.",
    ),
  );
  #draw = () => this.#update();

  show() {
    history.addEventListener("sample", this.#draw);
    this.#timer = setInterval(() => document.visibilityState === "visible" && void this.#ask(), HEALTH_EVERY_MS);
    void this.#ask();
    this.#disk.show();
    this.#update();
  }

  hide() {
    history.removeEventListener("sample", this.#draw);
    clearInterval(this.#timer);
    this.#disk.hide();
  }

  async #ask() {
    const { status, reasons } = await health("health/ready").catch(() => ({ status: "unreachable" }));
    if (status === "ok") replace(this.#health, el("span", { class: "good" }, "Ready"));
    else replace(this.#health, el("span", { class: "bad" }, reasons?.join(", ") ?? status));
  }

  #update() {
    said(this.#note);
    if (!history.latest) return;
    tiles(this.#tiles, figures());
    this.#size.update([history.level("fleetlm_log_bytes", SPAN)]);
    this.#sync.update([history.quantile(SYNC, 0.5, SPAN), history.quantile(SYNC, 0.99, SPAN)]);
    const syncs = history.rate("fleetlm_syncs_total", SPAN);
    const appended = history.rate("fleetlm_messages_appended_total", SPAN);
    this.#syncs.update([syncs]);
    this.#fill.update([
      syncs.map(([moment, value], at) => [
        moment,
        value > 0 && appended[at][1] !== null ? appended[at][1] / value : null,
      ]),
    ]);
    const { shards } = history;
    fill(
      this.#table,
      ["Shard", ...COLUMNS.map(([name]) => name)],
      shards.map((shard) => [String(shard), ...COLUMNS.map(([, read]) => read(shard))]),
    );
    for (const row of this.#table.querySelectorAll("tbody tr"))
      row.lastChild.className = `number ${row.lastChild.textContent === "good" ? "good" : "bad"}`;
  }
}
