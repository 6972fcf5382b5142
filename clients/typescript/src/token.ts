/** The token of the moment. Whoever asks while one is being fetched waits for the same one. */

import { asError } from "./errors.js";

/** A token, or what gives one whenever a fresh one is needed. */
export type TokenSource = string | (() => string | Promise<string>);

export class Token {
  #current: string | undefined;
  #fetching: Promise<string | undefined> | undefined;
  readonly #source: TokenSource | undefined;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
    this.#current = typeof source === "string" ? source : undefined;
  }

  get current(): string | undefined {
    return this.#current;
  }

  /** There can be another one. */
  get isRefreshable(): boolean {
    return typeof this.#source === "function";
  }

  /** The current one, or the first. */
  async ready(): Promise<string | undefined> {
    return this.#current ?? (await this.refresh());
  }

  /**
   * Asks for a fresh one.
   *
   * @throws FleetLMError `TokenUnavailable` with what the callback threw as its cause.
   */
  refresh(): Promise<string | undefined> {
    const source = this.#source;
    if (typeof source !== "function") return Promise.resolve(source);
    this.#fetching ??= this.#fetch(source).finally(() => (this.#fetching = undefined));
    return this.#fetching;
  }

  async #fetch(source: () => string | Promise<string>): Promise<string> {
    try {
      return (this.#current = await source());
    } catch (thrown) {
      throw asError(thrown, "TokenUnavailable");
    }
  }
}
