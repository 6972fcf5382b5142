// Makes elements. Text becomes text nodes and nothing else: no markup is ever parsed, so no text of a session can become any.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "tabIndex"]);

/** `el("p", { class: "muted", onclick: f }, "text", node, [more])`; null and false are left out. */
export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  element.append(...nodes(children));
  return element;
}

function set(element, name, value) {
  if (typeof value === "function" && name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (PROPERTIES.has(name)) element[name] = value;
  else if (value === true) element.setAttribute(name, "");
  else if (value !== false && value != null) element.setAttribute(name, String(value));
}

const nodes = (children) => children.flat(Infinity).filter((child) => child != null && child !== false);

/** Puts these in the place of what was there. */
export function replace(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/** Changes a text only where it differs, so that what is selected or read aloud stays. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const PATHS = {
  chat: "M3 3.5h10v7.5H7.5L4.5 13.5V11H3z",
  agents: "M4 5.5h8v7H4zM8 5.5V3M6.5 8.5v1.5M9.5 8.5v1.5M2.5 8v2.5M13.5 8v2.5",
  inbox: "M2.5 9.5l2-6h7l2 6v3.5h-11zM2.5 9.5H6l.8 1.5h2.4l.8-1.5h3.5",
  metrics: "M2.5 13.5h11M4.5 11V7.5M8 11V3M11.5 11V5.5",
  storage: "M3 4.5c0-2 10-2 10 0v7c0 2-10 2-10 0zM3 4.5c0 2 10 2 10 0M3 8c0 2 10 2 10 0",
  back: "M9.5 3.5L5 8l4.5 4.5",
  plus: "M8 3.5v9M3.5 8h9",
  send: "M8 13V3.5M4 7.5l4-4 4 4",
  stop: "M5 5h6v6H5z",
};

/** A picture of 16 by 16 that says nothing the words beside it do not say. */
export const icon = (name) =>
  svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
