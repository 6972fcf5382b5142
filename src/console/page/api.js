// Requests to the server this page came from. A refusal is a `Refused` with the server's own words.

import { settings } from "./settings.js";

/** An address of this server, also where a proxy serves it below a path. */
export const address = (path) => new URL(path, document.baseURI);

export class Refused extends Error {
  constructor(status, body) {
    super(wordsOf(body) ?? (status === 0 ? "The server cannot be reached" : `The server said ${status}`));
    this.status = status;
    this.body = body;
  }
}

function wordsOf(body) {
  if (!body || typeof body !== "object") return undefined;
  if (typeof body.error === "string") return body.error;
  if (typeof body.errors?.detail === "string") return body.errors.detail;
  const [field] = Object.entries(body.errors ?? {});
  return field ? `${field[0]} ${[field[1]].flat().join(", ")}` : undefined;
}

const denied = new Set();
/** Hears of every 401 and 403. */
export const onDenied = (listener) => denied.add(listener);

async function send(method, path, body) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (settings.token) headers.authorization = `Bearer ${settings.token}`;
  const sent = { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" };
  const response = await fetch(address(path), sent).catch(() => {
    throw new Refused(0);
  });
  if (response.ok) return response;
  const refused = new Refused(response.status, await response.json().catch(() => undefined));
  if (response.status === 401) for (const listener of denied) listener(refused);
  throw refused;
}

const json = (response) => (response.status === 204 ? undefined : response.json());

/** A query of those values that are there. */
export const query = (values) =>
  new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined && value !== "")).toString();

export const get = (path) => send("GET", path).then(json);
export const post = (path, body) => send("POST", path, body).then(json);
export const patch = (path, body) => send("PATCH", path, body).then(json);
export const remove = (path) => send("DELETE", path).then(json);
export const text = (path) => send("GET", path).then((response) => response.text());
/** Answers whose status is part of what they say. */
export const health = async (path) => (await fetch(address(path), { cache: "no-store" })).json();
