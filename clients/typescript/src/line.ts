/**
 * One topic over a connection: it is joined whenever the connection is there, and what is pushed is answered, refused
 * or lost, by name. A line outlives any number of sockets; phoenix's channel below it joins again by itself.
 */

import { type FleetLMError, isAboutToken, refusedOnChannel } from "./errors.js";
import type { Channel, Socket } from "./phoenix.js";

/** What becomes of a push. `lost`: nobody knows whether it was taken. */
export type Outcome = { ok: unknown } | { refused: FleetLMError } | { lost: "connection" | "timeout" };

/**
 * Why nothing is pushed for a while: the server could not go on with the topic, the connection is lost, or too much was
 * pushed.
 */
export type Leaving = "topic" | "connection" | "too large";

/** What a line is for, and who is told. */
export interface Topic {
  name: string;
  /** Parameters of the join of this moment. */
  params(): object;
  /** The server has let us in, again perhaps. */
  joined(reply: unknown): void;
  /** No push is answered any more until it is joined again. */
  left(because: Leaving): void;
  /** For good: the server has said no, or the connection has ended because of this. */
  refused(error: FleetLMError): void;
  /** For good: the server has closed the topic. */
  closed(): void;
  /** Listeners of the server's events. */
  events: Record<string, (payload: never) => void>;
}

/** What a line needs of its connection. */
export interface Trunk {
  /** The token is not good any more. */
  tokenRefused(error: FleetLMError): void;
  /** phoenix has noticed that nobody answers. */
  silent(): void;
}

export class Line {
  readonly topic: Topic;
  readonly #trunk: Trunk;
  #channel: Channel | undefined;
  /** Settles the pushes that wait for an answer. */
  readonly #waiting = new Set<(outcome: Outcome) => void>();

  constructor(topic: Topic, trunk: Trunk) {
    this.topic = topic;
    this.#trunk = trunk;
  }

  get isJoined(): boolean {
    return this.#channel?.state === "joined";
  }

  /** Begins to join over this socket, and to join again whenever it is open. */
  begin(socket: Socket): void {
    if (this.#channel) return;
    const channel = socket.channel(this.topic.name, () => this.topic.params());
    this.#channel = channel;
    const isCurrent = () => this.#channel === channel;
    for (const [event, listener] of Object.entries(this.topic.events)) {
      channel.on(event, (payload) => {
        if (isCurrent()) listener(payload as never);
      });
    }
    channel.onError((reason: unknown) => {
      if (!isCurrent()) return;
      const { source, reason: why } = (reason ?? {}) as { source?: unknown; reason?: unknown };
      if (source !== "transport") this.leave("topic");
      else if (why === "heartbeat_timeout") this.#trunk.silent(); // any other end is told by the socket, with its code
    });
    channel.onClose(() => {
      if (!isCurrent()) return;
      this.end();
      this.topic.closed();
    });
    channel
      .join()
      .receive("ok", (reply) => {
        if (isCurrent()) this.topic.joined(reply);
      })
      .receive("error", (reply) => isCurrent() && this.#refused(refusedOnChannel(reply)));
  }

  /** Pushes an event. Never throws. */
  push(event: string, payload: object, timeoutMs: number): Promise<Outcome> {
    const channel = this.#channel;
    if (!channel || !this.isJoined) return Promise.resolve({ lost: "connection" });
    return new Promise((resolve) => {
      const settle = (outcome: Outcome) => {
        this.#waiting.delete(settle);
        push.cancelTimeout(); // it would keep a process of Node.js alive
        resolve(outcome);
      };
      this.#waiting.add(settle);
      const push = channel.push(event, payload, timeoutMs);
      push
        .receive("ok", (ok) => settle({ ok }))
        .receive("error", (reply) => settle({ refused: refusedOnChannel(reply) }))
        .receive("timeout", () => settle({ lost: "timeout" }));
    });
  }

  /** The connection is gone, or the server could not go on: what waits for an answer is lost. */
  leave(because: Leaving): void {
    for (const settle of [...this.#waiting]) settle({ lost: "connection" });
    this.topic.left(because);
  }

  /** Leaves for good. */
  end(): void {
    const channel = this.#channel;
    this.#channel = undefined;
    for (const settle of [...this.#waiting]) settle({ lost: "connection" });
    if (channel && channel.state !== "closed") channel.leave();
  }

  #refused(error: FleetLMError): void {
    if (error.retryable) return; // phoenix joins again in a moment
    if (isAboutToken(error)) return this.#trunk.tokenRefused(error);
    this.end();
    this.topic.refused(error);
  }
}
