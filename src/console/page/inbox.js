// The inbox of the page's user, as the server tells it: what he has not read, the most recently active first.

import { get, post } from "./api.js";
import { nameOf } from "./directory.js";
import { el, replace } from "./dom.js";
import { step } from "./keyboard.js";
import { inbox } from "./live.js";
import { page } from "./metrics.js";
import { titleOf } from "./sessions.js";
import { settings } from "./settings.js";
import { ago, momentOf } from "./words.js";

/** Above every seq there is: the server moves the cursor to the last message. */
const EVERYTHING = 4294967294;
/** Titles that are asked for, of the rows that come first. */
const TITLES_MAX = 50;

export class InboxView {
  #titles = new Map();
  #onlyUnread = false;
  #body = el("tbody", {});
  #empty = el("div", { class: "empty", hidden: true });
  #table = el(
    "div",
    { class: "table" },
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          [
            ["Unread", "number slim"],
            ["Session"],
            ["Agent", "wide"],
            ["Last by", "wide"],
            ["Active", "number slim"],
            [""],
          ].map(([name, kind]) => (name ? el("th", { scope: "col", class: kind }, name) : el("td", { class: "slim" }))),
        ),
      ),
      this.#body,
    ),
  );
  #filter = el("button", { type: "button", "aria-pressed": "false", onclick: () => this.#turn(true) }, "Unread");
  #all = el("button", { type: "button", "aria-pressed": "true", onclick: () => this.#turn(false) }, "All");
  element = page(
    [
      el("h1", {}, "Inbox"),
      el("span", { class: "muted" }, settings.user),
      el("span", { class: "grow" }),
      el("div", { class: "segmented", role: "group", "aria-label": "Which sessions" }, this.#all, this.#filter),
    ],
    this.#empty,
    this.#table,
  );

  constructor() {
    inbox.addEventListener("change", () => this.#draw());
  }

  show() {
    this.#draw();
  }

  step(by) {
    step(this.#body, by);
  }

  /** Marks the row that has the focus as read. */
  mark() {
    const id = document.activeElement?.closest("tr")?.dataset.id;
    if (!id) return false;
    void this.#read(id);
    return true;
  }

  #turn(onlyUnread) {
    this.#onlyUnread = onlyUnread;
    this.#filter.setAttribute("aria-pressed", String(onlyUnread));
    this.#all.setAttribute("aria-pressed", String(!onlyUnread));
    this.#draw();
  }

  async #read(id) {
    await post(`api/sessions/${id}/read`, { user_id: settings.user, last_seq: EVERYTHING }).catch(() => {});
  }

  #draw() {
    const shown = inbox.entries.filter(({ unread_count }) => !this.#onlyUnread || unread_count > 0);
    const focused = document.activeElement?.closest("tr")?.dataset.id;
    replace(
      this.#body,
      shown.map((entry) => this.#row(entry)),
    );
    if (focused) this.#body.querySelector(`tr[data-id="${CSS.escape(focused)}"] a`)?.focus();
    this.#table.hidden = shown.length === 0;
    this.#empty.hidden = shown.length > 0;
    const words = inbox.error
      ? `The inbox cannot be joined: ${inbox.error}`
      : !inbox.isKnown
        ? "Waiting for the inbox"
        : this.#onlyUnread
          ? "Everything is read."
          : "No sessions yet.";
    replace(this.#empty, el("p", {}, words));
    void this.#name(shown.slice(0, TITLES_MAX));
  }

  /** Asks for the titles of sessions, each once. */
  async #name(entries) {
    for (const { session_id: id } of entries) {
      if (this.#titles.has(id)) continue;
      this.#titles.set(id, titleOf({ id }));
      const info = await get(`api/sessions/${id}`).then(
        ({ session }) => session,
        () => undefined,
      );
      if (!info) continue;
      this.#titles.set(id, titleOf(info));
      const link = this.#body.querySelector(`tr[data-id="${CSS.escape(id)}"] a`);
      if (link) link.textContent = titleOf(info);
    }
  }

  #row({ session_id: id, agent_id, unread_count: unread, last_activity_at: at, last_sender_id: last }) {
    const open = () => (location.hash = `#/chat/${id}`);
    return el(
      "tr",
      { "data-id": id, class: unread > 0 && "unread" },
      el("td", { class: "number" }, unread > 0 && el("span", { class: "count" }, String(unread))),
      el(
        "td",
        { class: "clip", onclick: open },
        el("a", { href: `#/chat/${id}`, "data-row": true }, this.#titles.get(id) ?? titleOf({ id })),
      ),
      el("td", { class: "wide" }, nameOf(agent_id)),
      el("td", { class: "wide" }, last ? nameOf(last) : ""),
      el("td", { class: "number" }, el("time", { datetime: at, title: momentOf(at) }, ago(at))),
      el(
        "td",
        { class: "number" },
        unread > 0 &&
          el(
            "button",
            { type: "button", class: "quiet", title: "Mark as read (m)", onclick: () => void this.#read(id) },
            "Mark read",
          ),
      ),
    );
  }
}
