// What is on the disk: how full it is, and the segments of every shard. Asked for while it is looked at; who may not see it is told so.

import { get, query } from "./api.js";
import { el, replace, write } from "./dom.js";
import { fill } from "./metrics.js";
import { ago, brief, bytes, momentOf } from "./words.js";

const EVERY_MS = 3000;
const PAGE = 50;
/** As many as the server tells in one answer. */
const SHOWN_MAX = 1000;
/** Below this share of free room the bar is red: time to act, for a full disk refuses appends. */
const LOW = 0.1;

const STATES = {
  prepared: "Empty, ready for the next roll",
  active: "Takes the appends",
  sealing: "Full, about to be cut to its length",
  sealed: "Complete",
  packed: "Rewritten without what was deleted",
};

const SHARDS = [
  ["Segments", ({ segments }) => brief(segments)],
  ["On the disk", ({ bytes_file }) => bytes(bytes_file)],
  ["Deleted, not given back", ({ bytes_dead }) => bytes(bytes_dead)],
  ["Not synced yet", ({ bytes_unsynced }) => bytes(bytes_unsynced)],
  ["Durable below", ({ durable_position }) => durable_position],
  ["Ends at", ({ end_position }) => end_position],
];

export class Disk {
  #timer;
  #limit = PAGE;
  #drawn;
  #note = el("p", { class: "notice bad", role: "status", hidden: true });
  #room = el("div", {});
  #files = el("p", { class: "after muted" });
  #shards = el("div", { class: "table", tabIndex: 0, role: "region", "aria-label": "Shards on the disk" });
  #isAsking = false;
  #segments = el("div", { class: "table", tabIndex: 0, role: "region", "aria-label": "Segments" });
  #more = el("button", { type: "button", class: "quiet more", hidden: true, onclick: () => this.#older() });
  #content = el(
    "div",
    { hidden: true },
    this.#room,
    this.#files,
    el("h2", { class: "section" }, "Shards on the disk"),
    this.#shards,
    el("h2", { class: "section" }, "Segments"),
    this.#segments,
    this.#more,
  );
  element = el("section", { "aria-label": "Disk" }, el("h2", { class: "section" }, "Disk"), this.#note, this.#content);

  show() {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => document.visibilityState === "visible" && void this.#ask(), EVERY_MS);
    void this.#ask();
  }

  hide() {
    clearInterval(this.#timer);
  }

  /** One question at a time: an answer that takes its time must not find the next behind it. */
  async #ask() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      this.#draw(await get(`api/storage?${query({ limit: this.#limit })}`));
      this.#note.hidden = true;
    } catch (refused) {
      const isDenied = refused.status === 401 || refused.status === 403;
      write(this.#note, isDenied ? "This token may not see the disk." : `The disk is not told: ${refused.message}`);
      this.#note.hidden = false;
      if (isDenied) (this.hide(), (this.#content.hidden = true));
    } finally {
      this.#isAsking = false;
    }
  }

  #older() {
    this.#limit = Math.min(SHOWN_MAX, this.#limit * 2);
    void this.#ask();
  }

  #draw(storage) {
    this.#content.hidden = false;
    this.#drawRoom(storage.disk);
    write(this.#files, filesOf(storage));
    fill(
      this.#shards,
      ["Shard", ...SHARDS.map(([name]) => name)],
      storage.shards.map((shard) => [String(shard.shard), ...SHARDS.map(([, read]) => read(shard))]),
    );
    this.#drawSegments(storage);
    this.#more.hidden = !storage.has_more;
    const isAll = this.#limit >= SHOWN_MAX;
    this.#more.disabled = isAll;
    write(this.#more, isAll ? `The latest ${SHOWN_MAX}; there are more` : "Older segments");
  }

  #drawRoom(disk) {
    if (!disk) return replace(this.#room, el("p", { class: "muted" }, "The file system does not say how much room it has."));
    const { bytes_free: free, bytes_size: size } = disk;
    const words = `${bytes(free)} free of ${bytes(size)}`;
    if (this.#room.textContent === words) return;
    const used = size > 0 ? 1 - free / size : 0;
    replace(this.#room, meter("Disk used", used, 1 - used < LOW), el("p", { class: "after" }, words));
  }

  /** Drawn anew where something has changed, or a minute has passed in "how long ago". */
  #drawSegments({ segments }) {
    const drawn = `${Math.floor(Date.now() / 60_000)} ${JSON.stringify(segments)}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const heads = [["Segment"], ["Shard", "number"], ["State"], ["Full", "wide-bar"], ["Holds", "number"], ["File", "number"]];
    const head = [...heads, ["Begins at", "number"], ["Made"], ["Written"]].map(([name, kind]) =>
      el("th", { scope: "col", class: kind }, name),
    );
    replace(
      this.#segments,
      el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, segments.map(rowOf))),
    );
  }
}

/** A bar that says its share, in words too. */
function meter(name, share, isLow) {
  const percent = Math.round(Math.min(1, Math.max(0, share)) * 100);
  const bar = el("i", {});
  bar.style.width = `${percent}%`;
  return el(
    "div",
    {
      class: `meter${isLow ? " low" : ""}`,
      role: "meter",
      "aria-label": name,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": percent,
      "aria-valuetext": `${percent} %`,
    },
    bar,
  );
}

function rowOf(segment) {
  const { number, file, shard, state, bytes_used, bytes_file, bytes_capacity, is_damaged } = segment;
  const when = (text) => el("td", {}, text ? el("time", { datetime: text, title: momentOf(text) }, ago(text)) : "–");
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("code", { title: `Segment ${number}` }, file)),
    el("td", { class: "number" }, String(shard)),
    el(
      "td",
      { title: STATES[state] },
      state,
      is_damaged && el("span", { class: "bad" }, " damaged"),
    ),
    el("td", { class: "wide-bar" }, meter(`${file} is full`, bytes_used / bytes_capacity)),
    el("td", { class: "number" }, bytes(bytes_used)),
    el("td", { class: "number" }, bytes(bytes_file)),
    el("td", { class: "number" }, segment.first_position),
    when(segment.created_at),
    when(segment.written_at),
  );
}

function filesOf({ snapshots, snapshots_total: count, blobs }) {
  const sum = snapshots?.reduce((all, { bytes: one }) => all + one, 0);
  return [
    snapshots && `${count} ${count === 1 ? "snapshot" : "snapshots"}, ${bytes(sum)}`,
    blobs &&
      `${blobs.is_whole ? "" : "more than "}${brief(blobs.files)} ${blobs.files === 1 ? "file" : "files"} of sessions, ${bytes(blobs.bytes)}`,
  ]
    .filter(Boolean)
    .join(" · ");
}
