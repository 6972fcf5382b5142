// The form that registers an agent or a team, or changes one. What the server refuses stands at the field it is about.
//
// Only what was changed is sent. A secret is written and never read: the server tells none, so an empty field leaves it as it is.

import { patch, post } from "./api.js";
import { el, replace, write } from "./dom.js";
import { dialog } from "./keyboard.js";

/** Fields of every agent, then of those with a webhook, then of teams; `[name, label, kind, hint]`. A kind with bars is a choice. */
const COMMON = [
  ["name", "Name", "text"],
  ["description", "Description", "text", "What it is good for: messages for nobody in particular go by it"],
];
const WEBHOOK = [
  ["origin_url", "URL", "text", "Where it answers: scheme, host and port"],
  ["webhook_path", "Path", "text", "/webhook without one"],
  ["timeout_ms", "Timeout, ms", "number", "How long it may say nothing"],
  ["secret", "Secret", "secret", "Signs what it is sent. It is never shown again"],
];
const TEAM = [
  ["team.members", "Members", "list", "Ids of agents, with commas"],
  ["team.mode", "Mode", "auto|round_robin|parallel|debate|brainstorm|expert"],
  ["team.summarizer", "Summarizer", "text", "The id of the agent that sums up, if one does"],
  ["team.rounds", "Rounds", "number", "Of a debate"],
];
const MORE_WEBHOOK = [
  ["total_timeout_ms", "Timeout of a whole answer, ms", "number"],
  ["headers", "Headers", "headers", "One a line, as name: value. Values are shown as [redacted] and kept where that stays"],
  ["message_history_mode", "History", "tail|entire|last"],
  ["message_history_limit", "Messages of history", "number"],
  ["debounce_window_ms", "Debounce, ms", "number"],
  ["debounce_max_wait_ms", "Debounce at most, ms", "number"],
  ["on_crash", "After a crash", "abort|retry"],
  ["compaction_enabled", "Compaction", "flag"],
  ["compaction_token_budget", "Compaction: tokens", "number"],
  ["compaction_trigger_ratio", "Compaction: from this share on", "number"],
  ["compaction_webhook_url", "Compaction: URL", "text"],
];
const MORE = [
  ["keywords", "Keywords", "list", "With commas: messages with these words go to it"],
  ["is_default", "Answers what is for nobody else", "flag"],
];

/** Opens it: empty, or with `agent`. `done` is told the agent as the server has it. */
export function agentForm(agent, done) {
  new AgentForm(agent, done).open();
}

class AgentForm {
  #agent;
  #done;
  #isTeam;
  #fields = new Map();
  #refused = el("p", { class: "notice bad", role: "alert", hidden: true });
  #body = el("div", { class: "form" });
  #save;
  #box;

  constructor(agent, done) {
    [this.#agent, this.#done, this.#isTeam] = [agent, done, Boolean(agent?.team)];
    this.#save = el("button", { class: "primary" }, agent ? "Save" : "Register");
  }

  open() {
    this.#draw();
    const form = el(
      "form",
      { class: "form", novalidate: true, onsubmit: (event) => (event.preventDefault(), void this.#send()) },
      this.#refused,
      !this.#agent && this.#kinds(),
      this.#body,
      el("div", { class: "actions" }, this.#save),
    );
    this.#box = dialog(this.#agent ? `Edit ${this.#agent.name}` : "Register an agent", form);
    this.#box.classList.add("large");
    this.#body.querySelector("input:not([readonly])").focus();
  }

  #kinds() {
    const buttons = ["Webhook", "Team"].map((name, at) =>
      el(
        "button",
        {
          type: "button",
          "aria-pressed": String((at === 1) === this.#isTeam),
          onclick: () => {
            this.#isTeam = at === 1;
            buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(other === at)));
            this.#draw();
          },
        },
        name,
      ),
    );
    return el("div", { class: "segmented", role: "group", "aria-label": "Kind" }, buttons);
  }

  /** What was typed stays when the kind changes. */
  #draw() {
    const typed = new Map([...this.#fields].map(([name, { read }]) => [name, read()]));
    this.#fields.clear();
    const row = (field) => this.#row(field, typed);
    const id = ["id", "Id", "text", this.#agent ? undefined : "How sessions name it; for good"];
    const more = [...(this.#isTeam ? [] : MORE_WEBHOOK), ...MORE];
    replace(
      this.#body,
      row(id),
      [...COMMON, ...(this.#isTeam ? TEAM : WEBHOOK)].map(row),
      el("details", {}, el("summary", {}, "More"), el("div", { class: "form" }, more.map(row))),
    );
  }

  #row(field, typed) {
    const [name, label, kind, hint] = field;
    const id = `agent-${name.replace(".", "-")}`;
    const stored = valueOf(this.#agent, name);
    const input = inputOf(kind, id, typed.get(name) ?? textOf(kind, stored), stored);
    if (name === "id" && this.#agent) input.setAttribute("readonly", "");
    const wrong = el("p", { id: `${id}-wrong`, class: "bad", hidden: true });
    const note = hint && el("p", { id: `${id}-hint`, class: "muted" }, hint);
    input.setAttribute("aria-describedby", [note && note.id, wrong.id].filter(Boolean).join(" "));
    const readOf = (control) => (kind === "flag" ? control.checked : control.value);
    const read = () => readOf(input);
    // As a control gives it back: a line break in what is stored is no change of the reader's.
    const began = readOf(inputOf(kind, id, textOf(kind, stored), stored));
    this.#fields.set(name, { input, wrong, kind, read, began });
    const forgets = kind === "secret" && stored && this.#forgets(input);
    return [el("label", { for: id }, label), input, forgets, note, wrong];
  }

  /** A way to take a stored secret away, for an empty field means that it stays. */
  #forgets(input) {
    const box = el("input", { type: "checkbox", id: "agent-secret-none", onchange: () => (input.disabled = box.checked) });
    return el("label", { class: "flag", for: box.id }, box, "Take it away");
  }

  /** The fields that differ from what is stored. */
  #changes() {
    const changes = {};
    for (const [name, { kind, read, began, input }] of this.#fields) {
      const text = read();
      if (kind === "secret" ? !text && !input.disabled : text === began) continue;
      const value = kind === "secret" && input.disabled ? null : sentOf(kind, text);
      const [outer, inner] = name.split(".");
      if (inner) (changes[outer] ??= {})[inner] = value;
      else changes[outer] = value;
    }
    if (this.#isTeam && !this.#agent) changes.team ??= {};
    return changes;
  }

  async #send() {
    this.#save.disabled = true;
    this.#refused.hidden = true;
    for (const { input, wrong } of this.#fields.values()) {
      input.removeAttribute("aria-invalid");
      wrong.hidden = true;
    }
    try {
      const agent = this.#changes();
      const path = this.#agent && `api/agents/${encodeURIComponent(this.#agent.id)}`;
      const answer = await (path ? patch(path, { agent }) : post("api/agents", { agent }));
      this.#box.close();
      this.#done(answer.agent);
    } catch (refused) {
      this.#tell(refused);
    } finally {
      this.#save.disabled = false;
    }
  }

  #tell(refused) {
    const { errors } = refused.body ?? {};
    const wrong = Object.entries(refused.status === 422 && errors ? errors : {});
    const unplaced = wrong.filter(([name, words]) => !this.#mark(name, [words].flat().join(", ")));
    const first = this.#body.querySelector("[aria-invalid]");
    first?.closest("details")?.setAttribute("open", "");
    first?.focus();
    if (first && unplaced.length === 0) return;
    const words = unplaced.map(([name, said]) => `${name} ${[said].flat().join(", ")}`).join("; ");
    write(this.#refused, words || refused.message);
    this.#refused.hidden = false;
  }

  #mark(name, words) {
    const field = this.#fields.get(name) ?? (name === "team" ? this.#fields.get("team.members") : undefined);
    if (!field) return false;
    field.input.setAttribute("aria-invalid", "true");
    write(field.wrong, words);
    field.wrong.hidden = false;
    return true;
  }
}

const valueOf = (agent, name) => name.split(".").reduce((value, part) => value?.[part], agent ?? undefined);

/** A stored value as one types it. */
function textOf(kind, value) {
  if (kind === "flag") return value === true;
  if (kind === "secret" || value === null || value === undefined) return kind.includes("|") ? kind.split("|")[0] : "";
  if (kind === "list") return value.join(", ");
  if (kind === "headers") return Object.entries(value).map(([name, text]) => `${name}: ${text}`).join("\n");
  return String(value);
}

/** What was typed as it is sent. What is no number is sent as it is: the server says so at its field. */
function sentOf(kind, text) {
  if (kind === "flag" || kind.includes("|")) return text;
  const trimmed = text.trim();
  if (kind === "list") return trimmed.split(",").map((part) => part.trim()).filter(Boolean);
  if (kind === "headers") return Object.fromEntries(trimmed.split("\n").filter(Boolean).map(headerOf));
  if (kind === "number" && /^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  return trimmed === "" ? null : trimmed;
}

function headerOf(line) {
  const at = line.indexOf(":");
  return at < 0 ? [line.trim(), ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
}

function inputOf(kind, id, value, stored) {
  if (kind === "flag") return el("input", { id, type: "checkbox", class: "flag", checked: value });
  if (kind === "headers") return el("textarea", { id, rows: 3, spellcheck: "false", value });
  if (kind.includes("|")) {
    const choice = el("select", { id }, kind.split("|").map((name) => el("option", { value: name }, name.replace("_", " "))));
    choice.value = value;
    return choice;
  }
  const plain = { id, value, autocomplete: "off", spellcheck: "false" };
  if (kind === "secret") {
    const placeholder = stored ? "unchanged" : "none";
    return el("input", { ...plain, type: "password", autocomplete: "new-password", placeholder });
  }
  return el("input", kind === "number" ? { ...plain, inputmode: "numeric" } : plain);
}
