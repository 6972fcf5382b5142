/** A network between client and server that can be cut, and heal. */

import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import type { TestContext } from "node:test";

export class Proxy {
  readonly #open = new Set<Socket>();
  #isCut = false;
  #isFrozen = false;
  /** Connections that were taken. */
  taken = 0;
  port = 0;

  static async before(test: TestContext, portOf: () => number): Promise<Proxy> {
    const proxy = new Proxy();
    const server = createServer((near) => proxy.#join(near, portOf()));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    proxy.port = (server.address() as AddressInfo).port;
    test.after(() => {
      proxy.cut();
      server.close();
    });
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** All connections break, without a word of goodbye. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
    this.#open.clear();
  }

  /** Until `heal` no connection comes to be either. */
  stayCut(): void {
    this.#isCut = true;
    this.cut();
  }

  heal(): void {
    this.#isCut = this.#isFrozen = false;
  }

  /** Nothing comes through any more, and nobody is told. New connections are not answered. */
  freeze(): void {
    this.#isFrozen = true;
    for (const socket of this.#open) socket.unpipe().pause();
  }

  #join(near: Socket, port: number): void {
    near.on("error", () => {});
    if (this.#isCut) return void near.destroy();
    if (this.#isFrozen) return void this.#open.add(near.pause());
    this.taken += 1;
    const far = connect(port, "127.0.0.1");
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#open.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }
}
