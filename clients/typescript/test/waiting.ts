/** Waiting for what is to happen, and for nothing else. */

import type { TestContext } from "node:test";
import { type ClientEvents, type ClientOptions, FleetLMClient, type Message } from "@fleetlm/client";

/** A list that can be waited for. */
export class Log<T> {
  readonly all: T[] = [];
  readonly #waiting = new Set<() => void>();

  push(item: T): void {
    this.all.push(item);
    for (const look of [...this.#waiting]) look();
  }

  /** The first item that is so, of those that came and those to come. */
  async first(is: (item: T) => boolean, from = 0): Promise<T> {
    await this.until((all) => all.slice(from).some(is));
    return this.all.slice(from).find(is) as T;
  }

  until(is: (all: readonly T[]) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!is(this.all)) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** All events of this name, from now on. */
export function log<Name extends keyof ClientEvents>(client: FleetLMClient, name: Name): Log<ClientEvents[Name]> {
  const events = new Log<ClientEvents[Name]>();
  client.on(name, (event) => events.push(event));
  return events;
}

/** A client that is disconnected with the test. */
export function clientOf(test: TestContext, options: ClientOptions): FleetLMClient {
  const client = new FleetLMClient(options);
  test.after(() => client.disconnect());
  return client;
}

export const text = (said: string) => ({ kind: "text", content: { text: said } });

export const seqs = (messages: readonly Message[]) => messages.map(({ seq }) => seq);

export const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
