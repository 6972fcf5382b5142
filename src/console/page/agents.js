// The agents: who there is, how each is called, what became of its last calls, and the ways to register, change and disable one.

import { agentForm } from "./agent_form.js";
import { get, patch, remove } from "./api.js";
import { confirm } from "./confirm.js";
import { kindOf, nameOf, readAgents } from "./directory.js";
import { el, icon, replace, write } from "./dom.js";
import { step } from "./keyboard.js";
import { ago, brief, duration, momentOf, short } from "./words.js";

const EVERY_MS = 3000;
/** Fields that the head shows, or that hold nothing worth a line. */
const LEFT_OUT = new Set(["id", "name", "status", "description", "team", "isBuiltIn"]);

const REGISTER = `curl ADDRESS/api/agents -H 'content-type: application/json' \\
  -d '{"agent": {"id": "support", "name": "Support",
       "origin_url": "http://127.0.0.1:8000", "webhook_path": "/webhook"}}'`;

export class Agents {
  #agents = [];
  #id;
  #timer;
  #list = el("ul", { class: "rows", "aria-label": "Agents" });
  #search = el("input", {
    type: "search",
    placeholder: "Search agents",
    "aria-label": "Search agents",
    title: "/",
    oninput: () => this.#drawList(),
  });
  #note = el("p", { class: "muted note", role: "status" });
  #head = el("header", { class: "head" });
  #about = el("div", {});
  #calls = el("div", { class: "table", tabIndex: 0, role: "region", "aria-label": "Last calls" });
  #detail = el(
    "section",
    { class: "detail", "aria-label": "Agent" },
    this.#head,
    el("div", { class: "page" }, el("div", { class: "inner" }, el("h2", {}, "Last calls"), this.#calls, this.#about)),
  );
  element = el(
    "div",
    { class: "split" },
    el(
      "section",
      { class: "list", "aria-label": "Agents" },
      el("h1", { class: "narrow" }, "Agents"),
      el(
        "header",
        {},
        this.#search,
        el(
          "button",
          {
            type: "button",
            class: "button",
            title: "Register an agent (a)",
            "aria-label": "Register an agent",
            onclick: () => this.register(),
          },
          icon("plus"),
        ),
      ),
      el("div", { class: "scroll" }, this.#list, this.#note),
    ),
    this.#detail,
  );

  async show(id) {
    this.element.dataset.shows = id ? "detail" : "list";
    this.#id = id;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => document.visibilityState === "visible" && void this.#readCalls(), EVERY_MS);
    try {
      this.#agents = await readAgents();
    } catch (refused) {
      return write(this.#note, refused.message);
    }
    this.#drawList();
    this.#drawDetail();
    await this.#readCalls();
  }

  hide() {
    clearInterval(this.#timer);
  }

  search() {
    this.element.dataset.shows = "list";
    this.#search.focus();
  }

  step(by) {
    step(this.#list, by);
  }

  register() {
    agentForm(undefined, (agent) => this.#changed(agent));
  }

  edit() {
    const agent = this.#agent;
    if (!agent || isBuiltIn(agent)) return false;
    agentForm(agent, (changed) => this.#changed(changed));
    return true;
  }

  /** Its registration stays, and so do its sessions. */
  #disable(agent) {
    confirm({
      title: `Disable ${agent.name}?`,
      words: "It is called no more and begins no session. Its sessions and its registration stay: it can be enabled again.",
      verb: "Disable",
      act: async () => this.#changed((await remove(pathOf(agent))).agent),
    });
  }

  async #enable(agent) {
    try {
      this.#changed((await patch(pathOf(agent), { agent: { status: "enabled" } })).agent);
    } catch (refused) {
      write(this.#note, refused.message);
    }
  }

  #changed({ id }) {
    const address = `#/agents/${encodeURIComponent(id)}`;
    if (location.hash === address) void this.show(id);
    else location.hash = address;
  }

  get #agent() {
    return this.#agents.find(({ id }) => id === this.#id) ?? (this.#id ? undefined : this.#agents[0]);
  }

  #drawList() {
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.#agents.filter(({ id, name, description }) =>
      words.every((word) => `${id} ${name} ${description ?? ""}`.toLowerCase().includes(word)),
    );
    const row = (agent) =>
      el(
        "li",
        {},
        el(
          "a",
          {
            href: `#/agents/${encodeURIComponent(agent.id)}`,
            "data-row": true,
            "aria-current": String(agent.id === this.#agent?.id),
          },
          el(
            "span",
            { class: "line" },
            el("span", { class: "title" }, agent.name),
            agent.status !== "enabled" && el("span", { class: "when bad" }, agent.status),
          ),
          el("span", { class: "line" }, el("span", { class: "detail" }, `${kindOf(agent)} · ${agent.id}`)),
        ),
      );
    replace(this.#list, shown.map(row));
    write(this.#note, shown.length === 0 ? "Nothing found." : "");
  }

  #drawDetail() {
    const agent = this.#agent;
    const back = el("a", { class: "back", href: "#/agents", "aria-label": "All agents" }, icon("back"));
    if (!agent) {
      replace(this.#head, back, el("h1", {}, "No such agent"));
      return replace(this.#about);
    }
    const own = !isBuiltIn(agent);
    const edit = el("button", { type: "button", title: "Edit (e)", onclick: () => this.edit() }, "Edit");
    const isEnabled = agent.status === "enabled";
    const turn = el(
      "button",
      { type: "button", class: "quiet", onclick: () => (isEnabled ? this.#disable(agent) : void this.#enable(agent)) },
      isEnabled ? "Disable" : "Enable",
    );
    const talk = el("a", { class: "button", href: `#/chat/new/${encodeURIComponent(agent.id)}` }, "Talk");
    const facts = `${kindOf(agent)} · ${agent.id}${agent.status === "enabled" ? "" : ` · ${agent.status}`}`;
    replace(
      this.#head,
      back,
      el("div", { class: "what" }, el("h1", {}, agent.name), el("p", { class: "muted" }, facts)),
      own && turn,
      own && edit,
      isEnabled && talk,
    );
    replace(
      this.#about,
      el("h2", { class: "section" }, agent.isBuiltIn ? "About" : "Configuration"),
      agent.description && el("p", { class: "muted about" }, agent.description),
      agent.isBuiltIn
        ? aboutEcho()
        : el(
            "dl",
            { class: "fields" },
            fieldsOf(agent).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
          ),
    );
  }

  async #readCalls() {
    const agent = this.#agent;
    if (!agent) return this.#sayOfCalls("");
    if (agent.team) return this.#sayOfCalls("Of a team its members are called.");
    try {
      const { deliveries } = await get(`api/agents/${encodeURIComponent(agent.id)}/deliveries?limit=50`);
      if (agent.id === this.#agent?.id) this.#drawCalls(deliveries);
    } catch (refused) {
      this.#sayOfCalls(refused.status === 404 ? "It was not called yet." : refused.message);
    }
  }

  #sayOfCalls(words) {
    delete this.#calls.dataset.key;
    replace(this.#calls, el("p", { class: "muted" }, words));
  }

  #drawCalls(deliveries) {
    if (deliveries.length === 0) return this.#sayOfCalls("It was not called since the server began.");
    const heads = [
      ["When"],
      ["Outcome"],
      ["Took", "number"],
      ["First chunk", "number"],
      ["Chunks", "number"],
      ["Attempt", "number"],
      ["Session"],
    ];
    const head = el(
      "thead",
      {},
      el(
        "tr",
        {},
        heads.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)),
      ),
    );
    const key = JSON.stringify(deliveries);
    if (this.#calls.dataset.key !== key)
      replace(this.#calls, el("table", {}, head, el("tbody", {}, deliveries.map(rowOf))));
    this.#calls.dataset.key = key;
  }
}

const isBuiltIn = (agent) => kindOf(agent) === "built-in";
const pathOf = ({ id }) => `api/agents/${encodeURIComponent(id)}`;

function rowOf({
  ended_at,
  error,
  detail,
  status,
  duration_ms,
  first_chunk_ms,
  chunks,
  attempt,
  session_id,
  kind,
  lines_dropped,
}) {
  const words = !error
    ? kind === "answer"
      ? "answered"
      : kind
    : error === "http_status"
      ? `status ${status}`
      : error.replaceAll("_", " ");
  const more = [error && error !== "http_status" && detail, lines_dropped > 0 && `${lines_dropped} lines dropped`]
    .filter(Boolean)
    .join(", ");
  return el(
    "tr",
    {},
    el("td", {}, el("time", { datetime: ended_at, title: momentOf(ended_at) }, ago(ended_at))),
    el(
      "td",
      { class: "wrap" },
      el("span", { class: error ? "bad" : "good" }, words),
      more && el("span", { class: "muted" }, ` ${more}`),
    ),
    el("td", { class: "number" }, duration(duration_ms)),
    el("td", { class: "number" }, duration(first_chunk_ms)),
    el("td", { class: "number" }, brief(chunks)),
    el("td", { class: "number" }, String(attempt)),
    el("td", {}, el("a", { href: `#/chat/${session_id}`, title: session_id }, short(session_id))),
  );
}

function aboutEcho() {
  return [
    el(
      "p",
      {},
      "It is part of the server and needs no registration: it says again what it is told, word by word, at the pace of ",
      el("code", {}, "--echo-chunks-per-s"),
      ".",
    ),
    el("h2", { class: "section" }, "An agent of your own"),
    el("p", {}, "An agent is a URL that answers with AI SDK chunks. Register it here, with the plus above the list, or so:"),
    el("pre", { tabIndex: 0 }, REGISTER.replace("ADDRESS", location.origin)),
  ];
}

/** Configuration as the server tells it: secrets are redacted there. */
function fieldsOf(agent) {
  const { team } = agent;
  const fields = team
    ? [
        ["members", team.members.map(nameOf).join(", ") || "none"],
        ["mode", team.mode],
        ["summarizer", team.summarizer && nameOf(team.summarizer)],
        ["rounds", team.rounds],
      ]
    : [];
  const rest = Object.entries(agent).filter(
    ([name, value]) =>
      !LEFT_OUT.has(name) && value !== null && value !== "" && !(team && /^(origin|webhook)/.test(name)),
  );
  const written = (value) =>
    Array.isArray(value)
      ? value.join(", ")
      : typeof value === "object"
        ? Object.entries(value)
            .map(([name, text]) => `${name}: ${text}`)
            .join(", ") || "none"
        : String(value);
  return [
    ...fields.filter(([, value]) => value !== undefined),
    ...rest.map(([name, value]) => [name, name.endsWith("_at") ? momentOf(value) : written(value)]),
  ].map(([name, value]) => [name.replaceAll("_", " "), String(value)]);
}
