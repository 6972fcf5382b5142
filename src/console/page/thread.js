// One session on the screen: its messages, the answer that is running, what became of the connection, and the composer.

import { get, patch, post, remove } from "./api.js";
import { confirm } from "./confirm.js";
import { Composer } from "./composer.js";
import { agentOf, kindOf, nameOf } from "./directory.js";
import { el, icon, replace, write } from "./dom.js";
import { connection, socketOf } from "./live.js";
import { AnswerRow, messageRow, unsentRow } from "./message.js";
import { Session } from "./session.js";
import { titleOf } from "./sessions.js";
import { settings } from "./settings.js";

/** So near to the end counts as at the end. */
const END_PX = 60;
/** So near to the beginning older messages are read. */
const BEGINNING_PX = 300;

export class Thread {
  #session;
  #gone;
  #socket;
  #noticed;
  #isLost = false;
  #answers = new Map();
  #isAtEnd = true;
  /** What was asked for last: an answer that comes after another question is not shown. */
  #wanted;
  #isUnreached = false;
  #log = el("div", { class: "log", role: "log", "aria-label": "Messages", "aria-live": "polite" });
  #unsent = el("div", {});
  #live = el("div", { "aria-live": "off" });
  #beginning = el("p", { class: "beginning muted" });
  #scroll = el("div", {
    class: "scroll thread",
    tabIndex: 0,
    role: "region",
    "aria-label": "Session",
    onscroll: () => this.#scrolled(),
  });
  #banner = el("div", { class: "banner", role: "status", hidden: true });
  #run = el("div", { class: "run", role: "status", hidden: true });
  #head = el("header", { class: "head" });
  #composer = new Composer({ send: (text, agent) => this.#send(text, agent), stop: () => this.stop() });
  #title = el("h1", {});
  element = el(
    "section",
    { class: "detail", "aria-label": "Chat" },
    this.#head,
    this.#banner,
    this.#scroll,
    this.#run,
    this.#composer.element,
  );

  constructor(noticed, gone) {
    [this.#noticed, this.#gone] = [noticed, gone];
    document.addEventListener("visibilitychange", () => this.#seen());
    connection.addEventListener(
      "state",
      () => this.#isUnreached && connection.own.state === "online" && this.show(this.#wanted),
    );
    new ResizeObserver(() => this.#isAtEnd && this.#toEnd()).observe(this.#scroll);
  }

  /** Opens this session, or the beginning of a new one with this agent. */
  async show(id, agent) {
    if (agent) this.#composer.choose(agent);
    if (id === this.#session?.id && (id || this.#session === null)) return this.#shownAgain();
    this.#leave();
    this.#wanted = id;
    if (!id) return this.#greet();
    try {
      const { session } = await get(`api/sessions/${id}`);
      if (this.#wanted === id) await this.#enter(session);
    } catch (refused) {
      if (this.#wanted !== id) return;
      this.#say(refused.status === 404 ? "There is no such session." : refused.message);
      this.#isUnreached = refused.status === 0;
    }
  }

  /** A view that was away has lost its place. */
  #shownAgain() {
    if (this.#isAtEnd) this.#toEnd();
    this.#seen();
  }

  compose() {
    this.#composer.focus();
  }

  stop() {
    if (!this.#session?.run) return false;
    this.#session.stop().catch((refused) => this.#notice(refused.message));
    return true;
  }

  rename() {
    if (!this.#session) return false;
    const { info } = this.#session;
    const field = el("input", {
      class: "rename",
      "aria-label": "Title",
      value: info.title ?? "",
      maxlength: 200,
      onkeydown: (event) => {
        if (event.key === "Enter") void this.#retitle(field.value.trim());
        if (event.key === "Enter" || event.key === "Escape") (event.stopPropagation(), this.#drawHead());
      },
      onblur: () => this.#drawHead(),
    });
    this.#title.replaceWith(field);
    field.select();
    return true;
  }

  async #retitle(title) {
    const session = this.#session;
    if (!title || title === session.info.title) return;
    try {
      this.#told(session, (await patch(`api/sessions/${session.id}`, { title })).session);
    } catch (refused) {
      this.#notice(refused.message);
    }
  }

  #told(session, info) {
    session.info = info;
    this.#noticed(info);
    if (session === this.#session) this.#drawHead();
  }

  async #archive() {
    const session = this.#session;
    await remove(`api/sessions/${session.id}`);
    this.#told(session, { ...session.info, status: "archived" });
  }

  #delete() {
    const { id, info, lastSeq } = this.#session;
    const count = lastSeq === 1 ? "its message" : `its ${lastSeq} messages`;
    confirm({
      title: "Delete for good?",
      words: `"${titleOf(info)}" and ${count} go for everybody, and nothing brings them back. Archiving keeps them.`,
      verb: "Delete for good",
      act: async () => {
        await remove(`api/sessions/${id}?permanent=true`);
        this.#gone(id);
        if (this.#session?.id === id) location.hash = "#/chat/new";
      },
    });
  }

  // ---- one session --------------------------------------------------------------------------------------------------

  #leave() {
    this.#session?.close();
    this.#socket?.removeEventListener("state", this.#connected);
    this.#session = undefined;
    this.#answers.clear();
    for (const part of [this.#log, this.#unsent, this.#live, this.#head]) replace(part);
    this.#banner.hidden = true;
    this.#run.hidden = true;
    this.#isLost = false;
    this.#isUnreached = false;
  }

  async #enter(info) {
    const socket = socketOf(info.user_id);
    const session = new Session(info, socket);
    [this.#session, this.#socket] = [session, socket];
    this.#noticed(info);
    this.#drawHead();
    this.#composer.speak({ as: info.user_id, to: info.agent_id, about: info.id });
    replace(this.#scroll, el("div", { class: "column" }, this.#beginning, this.#log, this.#unsent, this.#live));
    const on = (type, act) =>
      session.addEventListener(type, (event) => session === this.#session && act(event.detail ?? {}));
    on("messages", ({ added }) => this.#draw(added));
    on("unsent", () => this.#drawUnsent());
    on("chunk", (detail) => this.#grow(detail));
    on("run", () => this.#drawRun());
    on("sent", () => this.#drawUnsent());
    on("joined", (detail) => this.#rejoined(detail));
    on("refused", ({ reason }) => this.#notice(`The session cannot be joined: ${reason}`));
    on("gone", () => this.#notice("This session was deleted."));
    socket.addEventListener("state", this.#connected);
    await session.open();
  }

  async #send(text, agent) {
    if (this.#session) return this.#session.send(text);
    const { session } = await post("api/sessions", { user_id: settings.user, agent_id: agent, title: titleFrom(text) });
    await this.#enter(session);
    this.#session.send(text);
    history.replaceState(null, "", `#/chat/${session.id}`);
    dispatchEvent(new HashChangeEvent("hashchange"));
  }

  #connected = () => {
    if (this.#socket.state !== "lost" || !this.#session) return;
    this.#isLost = true;
    replace(this.#banner, el("span", {}, "Connection lost, reconnecting. What is missed meanwhile is replayed."));
    Object.assign(this.#banner, { hidden: false, className: "banner bad" });
  };

  #rejoined({ replayed }) {
    this.#seen();
    if (!this.#isLost) return;
    this.#isLost = false;
    const words =
      replayed === 0
        ? "Back. Nothing was missed."
        : `Back. ${replayed} ${replayed === 1 ? "message" : "messages"} replayed.`;
    this.#notice(words, "good");
  }

  #notice(words, kind = "bad") {
    replace(this.#banner, el("span", {}, words));
    Object.assign(this.#banner, { hidden: false, className: `banner ${kind}` });
    if (kind === "good") setTimeout(() => this.#banner.textContent === words && (this.#banner.hidden = true), 4000);
  }

  // ---- drawing ------------------------------------------------------------------------------------------------------

  #drawHead() {
    const { info } = this.#session;
    this.#title = el(
      "h1",
      {},
      el(
        "button",
        { type: "button", class: "plain", title: "Rename (r)", onclick: () => this.rename() },
        titleOf(info),
      ),
    );
    const agent = agentOf(info.agent_id);
    const facts = [
      `${info.user_id} with ${nameOf(info.agent_id)}`,
      agent ? kindOf(agent) : "not registered",
      info.status === "archived" && "archived",
    ];
    const copy = el(
      "button",
      { type: "button", class: "quiet id", title: "Copy the id", onclick: () => this.#copy(copy) },
      info.id,
    );
    const archive =
      info.status !== "archived" &&
      el("button", { type: "button", class: "quiet", onclick: () => void this.#archive() }, "Archive");
    const erase = el(
      "button",
      { type: "button", class: "quiet", title: "Delete for good", onclick: () => this.#delete() },
      "Delete",
    );
    const back = el("a", { class: "back", href: "#/chat", "aria-label": "All sessions" }, icon("back"));
    replace(
      this.#head,
      back,
      el("div", { class: "what" }, this.#title, el("p", { class: "muted" }, facts.filter(Boolean).join(" · "))),
      copy,
      archive,
      erase,
    );
  }

  #copy(button) {
    navigator.clipboard?.writeText(this.#session.id).then(
      () => {
        write(button, "Copied");
        setTimeout(() => this.#session && write(button, this.#session.id), 1200);
      },
      () => {},
    );
  }

  /** All messages, or those that came now. */
  #draw(added) {
    const session = this.#session;
    const all = session.messages;
    const rows = (messages, before) =>
      messages.map((message, at) => messageRow(message, messages[at - 1] ?? before, session.info.user_id));
    if (added) this.#log.append(...rows(added, all[all.length - added.length - 1]));
    else replace(this.#log, rows(all));
    if (added && this.#isAtEnd && session.trim()) replace(this.#log, rows(session.messages));
    this.#drawBeginning();
    this.#drawUnsent();
    this.#drawLive();
    if (!added || this.#isAtEnd) this.#toEnd();
    this.#seen();
  }

  #drawBeginning() {
    const { hasOlder, lastSeq } = this.#session;
    write(this.#beginning, hasOlder ? "Older messages" : lastSeq === 0 ? "Nothing was said yet." : "The beginning");
  }

  #drawUnsent() {
    const session = this.#session;
    const row = (item) =>
      unsentRow(item, session.info.user_id, { retry: () => session.retry(item), discard: () => session.discard(item) });
    replace(this.#unsent, session.unsent.map(row));
    this.#toEnd();
  }

  #grow({ answer, part }) {
    this.#answers.get(answer)?.update(part);
    if (!this.#answers.has(answer)) this.#drawLive();
    if (this.#run.hidden) this.#drawRun();
    if (this.#isAtEnd) this.#toEnd();
  }

  /** The rows of answers under way; those whose message has come are gone. */
  #drawLive() {
    const answers = [...(this.#session.run?.answers.values() ?? [])].filter(({ parts }) => parts.length > 0);
    for (const answer of this.#answers.keys()) if (!answers.includes(answer)) this.#answers.delete(answer);
    for (const answer of answers) if (!this.#answers.has(answer)) this.#answers.set(answer, new AnswerRow(answer));
    replace(
      this.#live,
      answers.map((answer) => this.#answers.get(answer).element),
    );
  }

  #drawRun() {
    const { run, ending } = this.#session;
    this.#drawLive();
    this.#composer.running(Boolean(run?.id));
    this.#run.className = `run ${run ? run.status : (ending?.status ?? "")}`;
    if (run) replace(this.#run, el("span", { class: "pulse" }), stateOf(run));
    else if (ending) replace(this.#run, endOf(ending));
    this.#run.hidden = !run && !ending;
    if (this.#isAtEnd) this.#toEnd();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroll;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < END_PX;
    if (scrollTop < BEGINNING_PX && this.#session?.hasOlder) void this.#older();
    if (this.#isAtEnd) this.#seen();
  }

  /** Older messages go above, and what is looked at stays where it is. */
  async #older() {
    const session = this.#session;
    const count = await session.older().catch(() => 0);
    if (count === 0 || session !== this.#session) return;
    const { scrollHeight, scrollTop } = this.#scroll;
    const fresh = session.messages.slice(0, count);
    this.#log.prepend(...fresh.map((message, at) => messageRow(message, fresh[at - 1], session.info.user_id)));
    this.#drawBeginning();
    this.#scroll.scrollTop = scrollTop + this.#scroll.scrollHeight - scrollHeight;
  }

  #toEnd() {
    this.#isAtEnd = true;
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #seen() {
    const isSeen = document.visibilityState === "visible" && this.element.isConnected && this.#isAtEnd;
    if (isSeen && this.#session) this.#session.read();
  }

  // ---- nothing open -------------------------------------------------------------------------------------------------

  #greet() {
    this.#session = null;
    this.#blank();
    replace(
      this.#scroll,
      el(
        "div",
        { class: "greeting" },
        el("h2", {}, "Say something"),
        el(
          "p",
          {},
          "Echo is built in: it says again what it is told, word by word. What you see arrive is a live stream; what stays has a number, and is on the disk.",
        ),
        el(
          "p",
          { class: "muted" },
          el("kbd", {}, "Enter"),
          " sends and begins the session. ",
          el("kbd", {}, "?"),
          " shows all keys.",
        ),
      ),
    );
  }

  /** What is written goes to a new session. */
  #blank() {
    this.#composer.speak({ as: settings.user });
    const title = el(
      "div",
      { class: "what" },
      el("h1", {}, "New session"),
      el("p", { class: "muted" }, `as ${settings.user}`),
    );
    replace(this.#head, el("a", { class: "back", href: "#/chat", "aria-label": "All sessions" }, icon("back")), title);
  }

  #say(words) {
    this.#leave();
    this.#blank();
    replace(
      this.#scroll,
      el(
        "div",
        { class: "greeting" },
        el("p", {}, words),
        el("p", {}, el("a", { href: "#/chat/new" }, "Begin a new one")),
      ),
    );
  }
}

function stateOf({ status, agent, attempt, reason, retryAt }) {
  if (status === "retrying") {
    const wait = Math.max(0, Math.round((retryAt - Date.now()) / 100) / 10);
    return `Attempt ${attempt ?? 1} of ${nameOf(agent)} failed (${named(reason)}), the next one follows in ${wait} s`;
  }
  return status === "waiting" ? `Waiting for ${nameOf(agent)}` : `${nameOf(agent)} is answering`;
}

function endOf({ status, agent, reason, detail }) {
  if (status === "stopped") return `${nameOf(agent)} was stopped`;
  return `${nameOf(agent)} failed: ${detail ?? named(reason)}`;
}

/** A session is called by its first words until somebody calls it otherwise. */
function titleFrom(text) {
  const words = text.replace(/\s+/g, " ").trim();
  const start = [...words].slice(0, 48).join("");
  return start === words ? words : start.replace(/ \S*$/, "").replace(/[\s.,:;]+$/, "") || start;
}
const named = (reason) => String(reason ?? "unknown").replaceAll("_", " ");
