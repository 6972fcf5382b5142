// Where one writes: a field that grows, the agent it goes to, and in place of sending the stop of an answer under way.

import { knownAgents, nameOf, readAgents } from "./directory.js";
import { el, icon, replace, write } from "./dom.js";

export class Composer {
  #send;
  #isBusy = false;
  /** What was typed and not sent, by session. */
  #drafts = new Map();
  #about;
  /** The agent that was asked for, until somebody chooses another. */
  #wanted = "echo";
  #agent = el("select", { "aria-label": "Agent", onchange: () => (this.#wanted = this.#agent.value) });
  #fixed = el("span", { class: "muted" });
  #field = el("textarea", {
    rows: 1,
    "aria-label": "Message",
    enterkeyhint: "send",
    oninput: () => this.#grow(),
    onkeydown: (event) => this.#pressed(event),
  });
  #button = el("button", { class: "primary round", title: "Send (Enter)", "aria-label": "Send" }, icon("send"));
  #stop;
  #error = el("p", { class: "notice bad", role: "alert", hidden: true });
  element;

  constructor({ send, stop }) {
    this.#send = send;
    this.#stop = el(
      "button",
      { type: "button", class: "stop", title: "Stop the answer (x)", hidden: true, onclick: stop },
      icon("stop"),
      "Stop",
    );
    this.element = el(
      "form",
      { class: "composer", onsubmit: (event) => (event.preventDefault(), void this.#submit()) },
      this.#error,
      el(
        "div",
        { class: "field" },
        this.#field,
        el("div", { class: "bar" }, this.#agent, this.#fixed, this.#stop, this.#button),
      ),
    );
  }

  /** Who speaks, and to whom: without `to` the agent is chosen here. What was begun elsewhere stays there. */
  speak({ as, to, about }) {
    this.#drafts.set(this.#about, this.#field.value);
    this.#field.value = this.#drafts.get(about) ?? "";
    this.#about = about;
    this.#grow();
    this.#agent.hidden = to !== undefined;
    this.#fixed.hidden = to === undefined;
    this.#error.hidden = true;
    this.running(false);
    write(this.#fixed, `${as} to ${to === undefined ? "" : nameOf(to)}`);
    this.#field.placeholder = to === undefined ? "Write a message" : `Write to ${nameOf(to)}`;
    if (to === undefined) void this.#offer();
  }

  /** The agent of the next session. */
  choose(id) {
    this.#wanted = id;
    this.#draw();
  }

  focus() {
    this.#field.focus();
  }

  running(isRunning) {
    this.#stop.hidden = !isRunning;
  }

  async #offer() {
    this.#draw();
    await readAgents().catch(() => {});
    this.#draw();
  }

  #draw() {
    const enabled = knownAgents().filter(({ status }) => status === "enabled");
    replace(
      this.#agent,
      enabled.map(({ id, name }) => el("option", { value: id, title: id }, name)),
    );
    this.#agent.value = (enabled.find(({ id }) => id === this.#wanted) ?? enabled[0])?.id;
  }

  #pressed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void this.#submit();
  }

  async #submit() {
    const text = this.#field.value.trim();
    if (!text || this.#isBusy) return;
    this.#isBusy = true;
    this.#error.hidden = true;
    this.#field.value = "";
    this.#grow();
    try {
      await this.#send(text, this.#agent.value);
    } catch (refused) {
      this.#field.value = text;
      this.#grow();
      write(this.#error, refused.message);
      this.#error.hidden = false;
    } finally {
      this.#isBusy = false;
      this.#field.focus();
    }
  }

  #grow() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${Math.min(this.#field.scrollHeight, 200)}px`;
  }
}
