// What the server does now and did in the last minutes: figures, charts, shards, and every series as a table.

import { Chart } from "./chart.js";
import { el, replace, write } from "./dom.js";
import { history } from "./history.js";
import { brief, duration } from "./words.js";

const RANGES = [
  ["1 min", { rangeMs: 60_000, stepMs: 1000 }],
  ["5 min", { rangeMs: 300_000, stepMs: 2000 }],
  ["15 min", { rangeMs: 900_000, stepMs: 5000 }],
];
/** Shards that get a line each; with more there is their sum. */
const LINES_MAX = 8;

const [APPEND, SYNC, FIRST] = [
  "fleetlm_session_append_duration",
  "fleetlm_sync_duration",
  "fleetlm_agent_ttft_duration",
];

/** Title, lines as [name, how it is read], format. */
const charts = (shards) => [
  [
    "Messages appended a second",
    shards.length > 1 && shards.length <= LINES_MAX
      ? shards.map((shard) => [
          `shard ${shard}`,
          (span) => history.rate("fleetlm_messages_appended_total", span, shard),
        ])
      : [["all shards", (span) => history.rate("fleetlm_messages_appended_total", span)]],
    brief,
  ],
  ["Append to acknowledgement", quantiles(APPEND), duration],
  [
    "Events brought to subscribers a second",
    [["deliveries", (span) => history.rate("fleetlm_deliveries_total", span)]],
    brief,
  ],
  ["One sync of the disk", quantiles(SYNC), duration],
  [
    "Connections",
    [
      ["open", (span) => history.level("fleetlm_connections_open", span)],
      ["sockets", (span) => history.level("fleetlm_sockets_open", span)],
    ],
    brief,
  ],
  [
    "HTTP requests a second",
    [
      ["all", (span) => history.rate("fleetlm_http_requests_total", span)],
      ["4xx", (span) => history.rate("fleetlm_http_responses_total", span, undefined, { class: "ClientError" })],
      ["5xx", (span) => history.rate("fleetlm_http_responses_total", span, undefined, { class: "ServerError" })],
    ],
    brief,
  ],
  ["Message to first chunk of its answer", quantiles(FIRST), duration],
  [
    "Answers",
    [
      ["chunks a second", (span) => history.rate("fleetlm_agent_stream_chunks_total", span)],
      ["runs open", (span) => history.level("fleetlm_agent_runs_open", span)],
    ],
    brief,
  ],
];

const quantiles = (name) => [
  ["p50", (span) => history.quantile(name, 0.5, span)],
  ["p99", (span) => history.quantile(name, 0.99, span)],
];

const figures = () => [
  ["Appends", brief(history.rateNow("fleetlm_messages_appended_total")), "/s"],
  ["Ack p50", ...parted(history.quantileNow(APPEND, 0.5))],
  ["Ack p99", ...parted(history.quantileNow(APPEND, 0.99))],
  ["Delivered", brief(history.rateNow("fleetlm_deliveries_total")), "/s"],
  ["Connections", brief(history.now("fleetlm_connections_open")), ""],
  ["Sessions", brief(history.now("fleetlm_sessions")), ""],
];

/** A duration with its unit apart. */
export const parted = (ms) => duration(ms).split(" ").concat("").slice(0, 2);

const COLUMNS = [
  ["Appends/s", (shard) => brief(history.rateNow("fleetlm_messages_appended_total", shard))],
  ["p50", (shard) => duration(history.quantileNow(APPEND, 0.5, shard))],
  ["p99", (shard) => duration(history.quantileNow(APPEND, 0.99, shard))],
  ["Delivered/s", (shard) => brief(history.rateNow("fleetlm_deliveries_total", shard))],
  ["Requests/s", (shard) => brief(history.rateNow("fleetlm_http_requests_total", shard))],
  ["Mail/s", (shard) => brief(history.rateNow("fleetlm_mailbox_commands_total", shard))],
  ["Refused", (shard) => brief(history.now("fleetlm_mailbox_refused_total", shard))],
  ["Connections", (shard) => brief(history.now("fleetlm_connections_open", shard))],
  ["Sockets", (shard) => brief(history.now("fleetlm_sockets_open", shard))],
  ["Sessions", (shard) => brief(history.now("fleetlm_sessions", shard))],
  ["Pending", (shard) => brief(history.now("fleetlm_pending_commits", shard))],
];

export class Metrics {
  #range = 0;
  #isTable = false;
  #charts = [];
  #shown = "";
  #tiles = el("dl", { class: "tiles" });
  #body = el("div", {});
  #note = el("p", { class: "notice bad", role: "status", hidden: true });
  #ranges = RANGES.map(([name], at) =>
    el("button", { type: "button", onclick: () => this.#choose(() => (this.#range = at)) }, name),
  );
  #kinds = ["Charts", "Table"].map((name, at) =>
    el("button", { type: "button", onclick: () => this.#choose(() => (this.#isTable = at === 1)) }, name),
  );
  element = page(
    [el("h1", {}, "Metrics"), el("span", { class: "grow" }), group("Range", this.#ranges), group("Form", this.#kinds)],
    this.#note,
    this.#tiles,
    this.#body,
  );
  #draw = () => this.#update();

  show() {
    history.addEventListener("sample", this.#draw);
    this.#choose(() => {});
  }

  hide() {
    history.removeEventListener("sample", this.#draw);
  }

  #choose(change) {
    change();
    this.#ranges.forEach((button, at) => button.setAttribute("aria-pressed", String(at === this.#range)));
    this.#kinds.forEach((button, at) => button.setAttribute("aria-pressed", String((at === 1) === this.#isTable)));
    this.#update();
  }

  #update() {
    said(this.#note);
    if (!history.latest) return;
    tiles(this.#tiles, figures());
    const { shards } = history;
    const form = `${this.#isTable} ${shards}`;
    if (form !== this.#shown) this.#build(shards);
    this.#shown = form;
    if (this.#isTable) return this.#drawTable(shards);
    const span = RANGES[this.#range][1];
    for (const [chart, lines] of this.#charts) chart.update(lines.map(([, read]) => read(span)));
    this.#drawShards(shards);
  }

  #build(shards) {
    this.#charts = charts(shards).map(([title, lines, format]) => [
      new Chart(
        title,
        lines.map(([name]) => name),
        format,
      ),
      lines,
    ]);
    this.table = el("div", { class: "table", tabIndex: 0, role: "region", "aria-label": "Figures" });
    if (this.#isTable) replace(this.#body, this.table);
    else
      replace(
        this.#body,
        el(
          "div",
          { class: "charts" },
          this.#charts.map(([chart]) => chart.element),
        ),
        el("h2", { class: "section" }, "Shards"),
        this.table,
      );
  }

  #drawShards(shards) {
    fill(
      this.table,
      ["Shard", ...COLUMNS.map(([name]) => name)],
      shards.map((shard) => [String(shard), ...COLUMNS.map(([, read]) => read(shard))]),
    );
  }

  #drawTable(shards) {
    const plain = history.series.filter(({ name }) => !name.endsWith("_bucket"));
    const named = ({ name, labels }) =>
      `${name.replace("fleetlm_", "")}${Object.values(labels)
        .map((value) => ` ${value}`)
        .join("")}`;
    const few = shards.length <= LINES_MAX ? shards : [];
    const rows = plain.map((series) => {
      const rate = /_(total|count)$/.test(series.name)
        ? brief(history.rateNow(series.name, undefined, series.labels))
        : "";
      return [
        named(series),
        rate,
        exact(history.now(series.name, undefined, series.labels)),
        ...few.map((shard) => exact(history.now(series.name, shard, series.labels))),
      ];
    });
    fill(
      this.table,
      ["Series", "a second", "all shards", ...few.map((shard) => `shard ${shard}`)],
      rows.sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }
}

const exact = (value) => (Number.isInteger(value) ? value.toLocaleString() : (value?.toFixed(2) ?? "–"));

// ---- what this view and the next share ------------------------------------------------------------------------------

/** A page with a line of things above it. */
export const page = (top, ...content) =>
  el(
    "div",
    { class: "page", tabIndex: -1 },
    el("div", { class: "inner" }, el("div", { class: "bar-top" }, top), content),
  );
const group = (name, buttons) => el("div", { class: "segmented", role: "group", "aria-label": name }, buttons);

/** What the server said in place of metrics. */
export function said(note) {
  note.hidden = !history.error;
  if (history.error)
    write(
      note,
      history.error.status === 403 ? "This token may not read metrics." : `No metrics: ${history.error.message}`,
    );
}

/** Figures: [name, value, unit]. */
export function tiles(list, figures) {
  if (list.children.length !== figures.length)
    replace(
      list,
      figures.map(() => el("div", {}, el("dt", {}), el("dd", {}, document.createTextNode(""), el("small", {})))),
    );
  figures.forEach(([name, value, unit], at) => {
    const [dt, dd] = list.children[at].children;
    write(dt, name);
    if (dd.firstChild.data !== value) dd.firstChild.data = value;
    write(dd.lastChild, unit ? ` ${unit}` : "");
  });
}

/** A table whose first column names its rows; cells are written where they change. */
export function fill(box, heads, rows) {
  let table = box.querySelector("table");
  if (!table || table.dataset.form !== `${heads} ${rows.length}`) {
    const cell = (at) => el(at === 0 ? "th" : "td", at === 0 ? { scope: "row" } : { class: "number" });
    table = el(
      "table",
      { "data-form": `${heads} ${rows.length}` },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          heads.map((head, at) => el("th", { scope: "col", class: at > 0 && "number" }, head)),
        ),
      ),
      el(
        "tbody",
        {},
        rows.map(() =>
          el(
            "tr",
            {},
            heads.map((_, at) => cell(at)),
          ),
        ),
      ),
    );
    replace(box, table);
  }
  rows.forEach((cells, row) => cells.forEach((text, at) => write(table.tBodies[0].rows[row].cells[at], text)));
}
