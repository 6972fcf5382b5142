/** One call of `connect`: a promise with a time by which it is settled, and attempts until then. */

import { backoffMs } from "./backoff.js";
import { FleetLMError, asError } from "./errors.js";

export class Opening {
  readonly promise: Promise<void>;
  resolve: () => void = () => {};
  reject: (error: FleetLMError) => void = () => {};
  #isSettled = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last: FleetLMError | undefined;

  /** `expire` is called when the time is over. */
  constructor(timeoutMs: number, expire: (error: FleetLMError) => void) {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = () => this.#settle(resolve);
      this.reject = (error) => this.#settle(() => reject(error));
    });
    if (timeoutMs === Infinity) return;
    this.#timer = setTimeout(() => {
      const why = this.#last === undefined ? "" : `: ${this.#last.message}`;
      expire(new FleetLMError("Unreachable", `no connection within ${timeoutMs} ms${why}`, { cause: this.#last }));
    }, timeoutMs);
  }

  /**
   * Does it until it succeeds, or there is no use in it, or the time is over.
   *
   * @throws FleetLMError the refusal that another attempt would not change.
   */
  async retrying(work: () => Promise<void>): Promise<void> {
    for (let tries = 1; !this.#isSettled; tries += 1) {
      try {
        return await work();
      } catch (thrown) {
        this.#last = asError(thrown, "Unreachable");
        if (!this.#last.retryable) throw this.#last;
        const waitMs = Math.max(this.#last.retryAfterMs ?? 0, backoffMs(tries));
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }

  #settle(how: () => void): void {
    this.#isSettled = true;
    clearTimeout(this.#timer);
    how();
  }
}
