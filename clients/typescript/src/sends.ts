/**
 * The queue of what is to be sent: bounded, in order, each with a key by which the server knows it again.
 *
 * One is under way at a time, for a refused one that is repeated must not come behind its successor. What was not
 * answered is sent again under the same key, so it is stored once, whatever happened to the first attempt.
 */

import { backoffMs } from "./backoff.js";
import { FleetLMError, asError } from "./errors.js";
import type { Outcome } from "./line.js";
import type { Draft, Receipt } from "./types.js";

/** A server that has not answered by then is asked again. */
const ACK_MS = 10_000;

export interface SendOptions {
  /** The message is taken only if the session's last seq is this. */
  expectedSeq?: number;
  /** A key of the caller's own, 1 to 255 bytes; by default a new one. */
  idempotencyKey?: string;
}

interface Item {
  payload: object;
  resolve: (receipt: Receipt) => void;
  reject: (error: FleetLMError) => void;
}

type Push = (payload: object, timeoutMs: number) => Promise<Outcome>;

export class Sends {
  readonly #items: Item[] = [];
  readonly #queueMax: number;
  readonly #push: Push;
  /** Counts the times that the way was opened or closed: a round that belongs to an earlier one ends. */
  #round = 0;
  #isOpen = false;
  #isBusy = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wake: (() => void) | undefined;

  constructor(queueMax: number, push: Push) {
    this.#queueMax = queueMax;
    this.#push = push;
  }

  get length(): number {
    return this.#items.length;
  }

  /**
   * Takes a message, to be sent as soon as there is a way. Rejected with `QueueFull` (retryable) when there is no room,
   * else with the server's refusal, or `Disconnected` when the client is.
   */
  add(draft: Draft, { expectedSeq, idempotencyKey = newKey() }: SendOptions = {}): Promise<Receipt> {
    if (this.#items.length >= this.#queueMax) {
      const text = `${this.#queueMax} messages wait to be sent already`;
      return Promise.reject(new FleetLMError("QueueFull", text, { details: { queueMax: this.#queueMax } }));
    }
    const { kind, content, metadata } = draft;
    const wire = { content: { kind, content, metadata }, idempotency_key: idempotencyKey, expected_seq: expectedSeq };
    let payload: object;
    try {
      // A copy of this moment; undefined fields vanish.
      payload = JSON.parse(JSON.stringify(wire)) as object;
    } catch (thrown) {
      return Promise.reject(asError(thrown, "InvalidOptions"));
    }
    return new Promise((resolve, reject) => {
      this.#items.push({ payload, resolve, reject });
      void this.#work();
    });
  }

  /** There is a way to the server. */
  open(): void {
    this.#turn(true);
    void this.#work();
  }

  /** There is none. What was under way is sent again, first. */
  close(): void {
    this.#turn(false);
  }

  /** The first in the queue has cost the connection, and would again. */
  refuseFirst(error: FleetLMError): void {
    this.#items.shift()?.reject(error);
  }

  /** Refuses all that waits. */
  refuseAll(error: FleetLMError): void {
    this.#turn(false);
    for (const item of this.#items.splice(0)) item.reject(error);
  }

  #turn(isOpen: boolean): void {
    this.#round += 1;
    this.#isOpen = isOpen;
    this.#isBusy = false;
    clearTimeout(this.#timer);
    this.#wake?.();
  }

  async #work(): Promise<void> {
    if (!this.#isOpen || this.#isBusy) return;
    this.#isBusy = true;
    const round = this.#round;
    for (let tries = 1, item; (item = this.#items[0]);) {
      const outcome = await this.#push(item.payload, ACK_MS);
      if (round !== this.#round) return;
      const waitMs = waitOf(outcome, tries);
      if (waitMs === undefined) {
        this.#items.shift();
        tries = 1;
        settle(item, outcome);
      } else {
        tries += 1;
        await this.#pause(waitMs);
      }
      if (round !== this.#round) return;
    }
    this.#isBusy = false;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = setTimeout(resolve, ms);
    });
  }
}

/** Milliseconds to the next attempt; none when there is nothing to be gained by one. */
function waitOf(outcome: Outcome, tries: number): number | undefined {
  if ("ok" in outcome) return undefined;
  if ("lost" in outcome) return backoffMs(tries);
  const { retryable, retryAfterMs, name } = outcome.refused;
  // The server knows the topic no more: its notice that we have to join again is on the way.
  if (name === "UnmatchedTopic") return backoffMs(tries);
  return retryable ? Math.max(retryAfterMs ?? 0, backoffMs(tries)) : undefined;
}

function settle(item: Item, outcome: Outcome): void {
  if ("refused" in outcome) return item.reject(outcome.refused);
  const { seq, replayed } = (outcome as { ok: { seq: number; replayed?: boolean } }).ok;
  item.resolve({ seq, replayed: replayed === true });
}

/** A key that nobody else uses. Pages that were not loaded over TLS have no `randomUUID`. */
export function newKey(): string {
  if (typeof globalThis.crypto?.randomUUID === "function") return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
