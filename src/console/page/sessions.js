// The list of sessions: paged, never whole; searched where it is known; kept in step by the inbox.

import { get, query } from "./api.js";
import { nameOf } from "./directory.js";
import { el, icon, replace, write } from "./dom.js";
import { step } from "./keyboard.js";
import { connection, inbox } from "./live.js";
import { settings } from "./settings.js";
import { ago, short } from "./words.js";

const PAGE = 50;
/** Pages that a search reads before it waits to be asked for more. */
const SEARCH_PAGES = 4;
/** Sessions of the inbox that are asked for beside the pages. */
const LATELY = 20;
const ID = /^[0-9A-HJKMNP-TV-Z]{26}$/;
/** How often sessions of others are asked for; one's own are told by the inbox. */
const ALL_EVERY_MS = 5000;

export class SessionList {
  #sessions = new Map();
  #rows = new Map();
  #asked = new Set();
  /** The last one of the pages that were read. */
  #oldest;
  #hasMore = false;
  #isReading = false;
  #ofAll = false;
  #current;
  #list = el("ul", { class: "rows", "aria-label": "Sessions" });
  #more = el(
    "button",
    { type: "button", class: "quiet more", hidden: true, onclick: () => this.#read() },
    "Older sessions",
  );
  #note = el("p", { class: "muted note", role: "status" });
  #search = el("input", {
    type: "search",
    placeholder: "Search sessions",
    "aria-label": "Search sessions",
    title: "/",
    oninput: () => this.#filter(),
    onkeydown: (event) => this.#searched(event),
  });
  #mine = el("button", { type: "button", "aria-pressed": "true", onclick: () => this.#scope(false) }, "Mine");
  #all = el("button", { type: "button", "aria-pressed": "false", onclick: () => this.#scope(true) }, "All");
  element = el(
    "section",
    { class: "list", "aria-label": "Sessions" },
    el("h1", { class: "narrow" }, "Sessions"),
    el(
      "header",
      {},
      this.#search,
      el(
        "a",
        { class: "button", href: "#/chat/new", title: "New session (n)", "aria-label": "New session" },
        icon("plus"),
      ),
    ),
    el("div", { class: "segmented", role: "group", "aria-label": "Whose sessions" }, this.#mine, this.#all),
    el("div", { class: "scroll" }, this.#list, this.#note, this.#more),
  );

  constructor() {
    inbox.addEventListener("change", () => this.#inboxChanged());
    setInterval(
      () => document.visibilityState === "visible" && (this.#ofAll ? this.#refresh() : this.#draw()),
      ALL_EVERY_MS,
    );
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#refresh());
    connection.addEventListener("state", () => connection.own.state === "online" && this.#refresh());
    void this.#read();
  }

  search() {
    this.#search.focus();
    this.#search.select();
  }

  step(by) {
    step(this.#list, by);
  }

  /** Which one is open. */
  mark(id) {
    this.#current = id;
    for (const [other, row] of this.#rows) row.link.setAttribute("aria-current", String(other === id));
  }

  /** A session was made or changed here. */
  noticed(info) {
    this.#sessions.set(info.id, info);
    this.#draw();
  }

  /** A session was deleted for good here. */
  gone(id) {
    this.#sessions.delete(id);
    this.#rows.delete(id);
    this.#draw();
  }

  #scope(ofAll) {
    if (this.#ofAll === ofAll) return;
    this.#ofAll = ofAll;
    this.#mine.setAttribute("aria-pressed", String(!ofAll));
    this.#all.setAttribute("aria-pressed", String(ofAll));
    this.#sessions.clear();
    this.#asked.clear();
    this.#oldest = undefined;
    this.#isReading = false;
    void this.#read();
  }

  #page(before) {
    return get(`api/sessions?${query({ user_id: this.#ofAll ? undefined : settings.user, before, limit: PAGE })}`);
  }

  /** The next page of older ones. */
  async #read() {
    if (this.#isReading) return;
    this.#isReading = true;
    const ofAll = this.#ofAll;
    try {
      const page = await this.#page(this.#oldest);
      if (ofAll !== this.#ofAll) return;
      this.#oldest = page.sessions.at(-1)?.id ?? this.#oldest;
      for (const info of page.sessions) this.#sessions.set(info.id, info);
      this.#hasMore = page.has_more;
      this.#draw();
    } catch (refused) {
      write(this.#note, refused.message);
    } finally {
      this.#isReading = false;
    }
  }

  /** The newest page again. */
  async #refresh() {
    const ofAll = this.#ofAll;
    const page = await this.#page().catch(() => undefined);
    if (!page || ofAll !== this.#ofAll) return;
    for (const info of page.sessions) this.#sessions.set(info.id, info);
    this.#draw();
  }

  /** What was active lately is shown wherever its page is: the list of pages is by age, not by activity. */
  #inboxChanged() {
    for (const { session_id: id } of inbox.entries.slice(0, LATELY)) {
      if (this.#sessions.has(id) || this.#asked.has(id)) continue;
      this.#asked.add(id);
      get(`api/sessions/${id}`).then(
        ({ session }) => this.noticed(session),
        () => this.#asked.delete(id),
      );
    }
    this.#draw();
  }

  #filter() {
    this.#draw();
    if (this.#search.value.trim() && this.#hasMore) void this.#readOn();
  }

  /** A search looks through some pages more, so that it finds what is not on the screen. */
  async #readOn() {
    const sought = this.#search.value;
    for (let page = 0; page < SEARCH_PAGES && this.#hasMore && this.#search.value === sought; page++)
      await this.#read();
  }

  async #searched(event) {
    if (event.key === "ArrowDown") return (event.preventDefault(), this.step(1));
    if (event.key !== "Enter") return;
    event.preventDefault();
    const sought = this.#search.value.trim().toUpperCase();
    const [first] = this.#shown();
    if (ID.test(sought)) location.hash = `#/chat/${sought}`;
    else if (first) location.hash = `#/chat/${first.id}`;
  }

  #shown() {
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (info) => {
      const text =
        `${info.title ?? ""} ${info.id} ${info.user_id} ${info.agent_id} ${nameOf(info.agent_id)}`.toLowerCase();
      return (this.#ofAll || info.user_id === settings.user) && words.every((word) => text.includes(word));
    };
    return [...this.#sessions.values()]
      .filter(matches)
      .sort((a, b) => (lastOf(b) > lastOf(a) ? 1 : lastOf(b) < lastOf(a) ? -1 : 0));
  }

  #draw() {
    const shown = this.#shown();
    const now = Date.now();
    const rows = shown.map((info) => this.#row(info, now));
    const isSame =
      rows.length === this.#list.children.length && rows.every((row, at) => this.#list.children[at] === row);
    if (!isSame) {
      const focused = document.activeElement;
      replace(this.#list, rows);
      if (focused && this.#list.contains(focused)) focused.focus();
    }
    this.#more.hidden = !this.#hasMore;
    const sought = this.#search.value.trim();
    write(
      this.#note,
      shown.length > 0
        ? ""
        : sought
          ? "Nothing found among those that were read. Enter opens a whole session id."
          : "No sessions yet. Write something to begin one.",
    );
  }

  #row(info, now) {
    let row = this.#rows.get(info.id);
    if (!row) {
      const [title, detail, when, count] = [
        el("span", { class: "title" }),
        el("span", { class: "detail" }),
        el("time", { class: "when" }),
        el("span", { class: "count" }),
      ];
      const link = el(
        "a",
        { href: `#/chat/${info.id}`, "data-row": true },
        el("span", { class: "line" }, title, when),
        el("span", { class: "line" }, detail, count),
      );
      link.setAttribute("aria-current", String(info.id === this.#current));
      this.#rows.set(info.id, (row = { link, title, detail, when, count, item: el("li", {}, link) }));
    }
    const unread = inbox.of(info.id)?.unread_count ?? 0;
    write(row.title, titleOf(info));
    row.title.classList.toggle("muted", !info.title);
    const whose = this.#ofAll ? `${info.user_id} · ` : "";
    write(row.detail, `${whose}${nameOf(info.agent_id)}${info.status === "archived" ? " · archived" : ""}`);
    write(row.when, ago(lastOf(info), now));
    row.count.hidden = unread === 0;
    write(row.count, unread > 99 ? "99+" : String(unread));
    row.count.setAttribute("aria-label", `${unread} unread`);
    return row.item;
  }
}

const lastOf = (info) => {
  const active = inbox.of(info.id)?.last_activity_at;
  return active && active > info.inserted_at ? active : info.inserted_at;
};

/** What a session is called where nobody has named it. */
export const titleOf = (info) => info.title ?? `Untitled ${short(info.id)}`;
