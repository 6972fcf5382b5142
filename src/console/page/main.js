// The frame of the console: navigation, routes, keys, who is signed in. Views are made when they are first opened and kept.

import { Agents } from "./agents.js";
import { get, health, onDenied } from "./api.js";
import { Chat } from "./chat.js";
import { readAgents } from "./directory.js";
import { el, icon, replace, write } from "./dom.js";
import { history } from "./history.js";
import { InboxView } from "./inbox.js";
import { help, listen, onKey } from "./keyboard.js";
import { connection, inbox } from "./live.js";
import { Metrics } from "./metrics.js";
import { settings, turnTheme } from "./settings.js";
import { signIn } from "./sign_in.js";
import { Storage } from "./storage.js";

const VIEWS = [
  ["chat", "Chat", Chat],
  ["agents", "Agents", Agents],
  ["inbox", "Inbox", InboxView],
  ["metrics", "Metrics", Metrics],
  ["storage", "Storage", Storage],
];

const views = new Map();
let current;

const links = VIEWS.map(([name, title], at) =>
  el(
    "a",
    { href: `#/${name}`, title: `${title} (${at + 1})` },
    icon(name),
    el("span", {}, title),
    el("span", { class: "count", hidden: true }),
  ),
);
const main = el("main", { id: "main", tabIndex: -1 });
const light = el("span", { class: "light", "aria-hidden": "true" });
const state = el("span", { role: "status" });
const version = el("span", { class: "muted" });
const theme = el("button", {
  type: "button",
  class: "quiet",
  title: "Change the theme (t)",
  onclick: () => themed(turnTheme()),
});
const user = el(
  "button",
  { type: "button", class: "quiet user", title: "Change user or token", onclick: () => signIn() },
  "User ",
  el("b", {}, settings.user),
);

function frame() {
  const brand = el(
    "a",
    { class: "brand", href: "#/chat" },
    el("img", { src: "console/icon.svg", alt: "", width: 18, height: 18 }),
    "FleetLM",
  );
  const nav = el(
    "nav",
    { "aria-label": "Views" },
    brand,
    el(
      "ul",
      {},
      links.map((link) => el("li", {}, link)),
    ),
  );
  const foot = el(
    "footer",
    {},
    el("div", { class: "row" }, light, state, version),
    user,
    el(
      "div",
      { class: "row" },
      theme,
      el("button", { type: "button", class: "quiet", "data-wide": true, title: "Keys (?)", onclick: help }, "Keys"),
    ),
  );
  replace(document.getElementById("app"), el("div", { class: "side" }, nav, foot), main);
}

function themed() {
  write(theme, `Theme: ${settings.theme}`);
}

/** `#/chat/01M8..` is the view `chat` and what it is to show. */
function route() {
  const [, name, ...rest] = decodeURI(location.hash).split("/");
  const found = VIEWS.find(([view]) => view === name) ?? VIEWS[0];
  const [viewName, title, View] = found;
  if (!views.has(viewName)) views.set(viewName, new View());
  const view = views.get(viewName);
  if (current !== view) {
    current?.hide?.();
    replace(main, view.element);
    current = view;
  }
  document.body.dataset.view = viewName;
  document.title = `${title} · FleetLM`;
  links.forEach((link, at) =>
    VIEWS[at] === found ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current"),
  );
  view.show(rest.join("/") || undefined);
}

function connected() {
  const online = connection.own.state === "online";
  document.body.dataset.connection = connection.own.state;
  write(state, online ? "Connected" : connection.own.state === "lost" ? "Reconnecting" : "Connecting");
  if (connection.own.why?.code === 1008) signIn(connection.own.why.reason);
}

function counted() {
  const count = links[2].querySelector(".count");
  count.hidden = inbox.unread === 0;
  write(count, String(inbox.unread));
  count.setAttribute("aria-label", `${inbox.unread} unread`);
}

/** Has the view do this, if it can; false leaves the key to the browser. */
const ask = (what, ...words) => (current[what] ? (current[what](...words) ?? true) : false);

function keys() {
  VIEWS.forEach(([name, title], at) => onKey(String(at + 1), title, () => void (location.hash = `#/${name}`)));
  onKey("/", "Search", () => ask("search"));
  onKey("j", "Down", () => ask("step", 1));
  onKey("k", "Up", () => ask("step", -1));
  onKey("ArrowDown", undefined, ({ target }) => (target.closest("[data-row]") ? ask("step", 1) : false));
  onKey("ArrowUp", undefined, ({ target }) => (target.closest("[data-row]") ? ask("step", -1) : false));
  onKey("n", "New session", () => void (location.hash = "#/chat/new"));
  onKey("c", "Write", () => ask("compose"));
  onKey("x", "Stop the answer", () => ask("stop"));
  onKey("r", "Rename the session", () => ask("rename"));
  onKey("a", "Register an agent", () => ask("register"), ["agents"]);
  onKey("e", "Edit the agent", () => ask("edit"), ["agents"]);
  onKey("m", "Mark as read", () => ask("mark"));
  onKey("t", "Theme", () => themed(turnTheme()));
  onKey("?", "This help", () => void help());
  listen(() => document.body.dataset.view);
}

async function start() {
  frame();
  themed();
  keys();
  onDenied((refused) => signIn(refused.message));
  addEventListener("hashchange", route);
  health("health/live").then(
    ({ version: number }) => write(version, number ?? ""),
    () => {},
  );
  try {
    await get("api/sessions?limit=1"); // before sockets, whose refusals browsers keep to themselves
  } catch (refused) {
    if (refused.status === 401) return;
  }
  connection.addEventListener("state", connected);
  inbox.addEventListener("change", counted);
  inbox.start();
  connected();
  void readAgents().catch(() => {});
  history.start();
  route();
}

void start();
