// One table of keys: what the page listens to is what its help shows.

import { el } from "./dom.js";

const keys = [];

/** `act` gets the event; `where` limits a key to the views of these names. */
export function onKey(key, words, act, where) {
  keys.push({ key, words, act, where });
}

const isTyping = (target) => target.closest?.("input, textarea, select, [contenteditable]");

export function listen(viewName) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]"))
      return;
    if (event.key === "Escape") {
      if (isTyping(event.target)) event.target.blur();
      return;
    }
    if (isTyping(event.target)) return;
    const found = keys.find(({ key, where }) => key === event.key && (!where || where.includes(viewName())));
    if (found && found.act(event) !== false) event.preventDefault();
  });
}

/** Moves the focus along the rows of a list: 1 down, -1 up. */
export function step(list, by) {
  const rows = [...list.querySelectorAll("[data-row]")].filter((row) => !row.hidden);
  if (rows.length === 0) return;
  const focused = rows.indexOf(document.activeElement?.closest?.("[data-row]"));
  const at = focused >= 0 ? focused : rows.findIndex((row) => row.getAttribute("aria-current") === "true");
  const row = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + (focused < 0 ? 0 : by)))];
  row.focus();
  row.scrollIntoView({ block: "nearest" });
}

const FIXED = [
  ["Enter", "Send; Shift+Enter begins a line"],
  ["Esc", "Leave a field, close what is open"],
];

export function help() {
  const seen = new Set();
  const rows = [...keys.map(({ key, words }) => [key, words]), ...FIXED].filter(
    ([, words]) => words && !seen.has(words) && seen.add(words),
  );
  const line = ([key, words]) =>
    el("div", {}, el("dt", {}, ...key.split(" ").map((part) => el("kbd", {}, part))), el("dd", {}, words));
  return dialog("Keys", el("dl", { class: "keys" }, rows.map(line)));
}

/** Shows a dialog that goes when it is closed. */
export function dialog(title, ...content) {
  const close = el("button", { class: "quiet", type: "button", onclick: () => box.close() }, "Close");
  const box = el("dialog", { "aria-label": title }, el("header", {}, el("h2", {}, title), close), ...content);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}
