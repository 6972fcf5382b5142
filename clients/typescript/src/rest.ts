/** Requests over HTTP: sessions, pages of messages, cursors. Live events are the connection's. */

import { FleetLMError, asError, isAboutToken, refusedOverHttp } from "./errors.js";
import type { Token } from "./token.js";

/** A request that is not answered by then is not going to be. The server answers within 30 s what it answers at all. */
const TIMEOUT_MS = 30_000;

export class Rest {
  readonly #base: string;
  readonly #token: Token;

  constructor(base: string, token: Token) {
    this.#base = base;
    this.#token = token;
  }

  /**
   * One request. A refused token is refreshed once.
   *
   * @throws FleetLMError of the server's, `Unreachable`, `TimedOut` or `TokenUnavailable`.
   */
  async ask<T>(method: string, path: string, body?: object): Promise<T> {
    const token = await this.#token.ready();
    try {
      return await this.#once<T>(method, path, body, token);
    } catch (thrown) {
      const error = asError(thrown, "Unreachable");
      if (!isAboutToken(error) || !this.#token.isRefreshable) throw error;
      return this.#once<T>(method, path, body, await this.#token.refresh());
    }
  }

  async #once<T>(method: string, path: string, body: object | undefined, token: string | undefined): Promise<T> {
    const headers: Record<string, string> = { accept: "application/json" };
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.#base + path, { method, headers, signal, ...sent });
      text = await response.text();
    } catch (thrown) {
      throw asError(thrown, signal.aborted ? "TimedOut" : "Unreachable");
    }
    if (response.ok && text === "") return undefined as T;
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      // A page of a proxy, or of another server altogether.
    }
    if (!response.ok) throw refusedOverHttp(response.status, json, response.headers.get("retry-after"));
    if (json === undefined)
      throw new FleetLMError("Refused", "the answer is no JSON: is this a FleetLM server?", {
        status: response.status,
      });
    return json as T;
  }
}

/** The query of a path, without the fields that are undefined. */
export function query(fields: Record<string, string | number | undefined>): string {
  const pairs = Object.entries(fields).filter(([, value]) => value !== undefined);
  return new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
}
