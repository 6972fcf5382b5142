/** A user's inbox, live: the sessions that are not archived, the most recently active first, with what is unread. */

import { addressOf } from "./address.js";
import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { FleetLMError } from "./errors.js";
import type { Line } from "./line.js";
import { Opening } from "./opening.js";
import { CONNECT_TIMEOUT_MS, type CommonOptions, HEARTBEAT_MS } from "./options.js";
import { Rest } from "./rest.js";
import { Sessions } from "./sessions.js";
import { Token } from "./token.js";
import type { InboxEntry, StatusEvent } from "./types.js";
import { type WireInbox, inboxOf } from "./wire.js";

export interface InboxEvents {
  /** The whole inbox, whenever it has changed. */
  inbox: readonly InboxEntry[];
  status: StatusEvent;
  error: FleetLMError;
}

export class Inbox extends Emitter<InboxEvents> {
  readonly userId: string;
  readonly #connection: Connection;
  /** Whether the connection is a client's, which opens and closes it. */
  readonly #isShared: boolean;
  #line: Line | undefined;
  #entries: readonly InboxEntry[] = [];
  #opening: Opening | undefined;
  readonly #connectTimeoutMs: number;

  /** An inbox with a connection of its own; `FleetLMClient.inbox()` gives one on the client's. */
  constructor(options: CommonOptions, shared?: Connection) {
    super();
    this.userId = options.userId;
    this.#isShared = shared !== undefined;
    this.#connectTimeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    this.#connection = shared ?? connectionOf(options);
    this.#connection.on("status", (status) => this.emit("status", status));
  }

  /** As it was last told. The same array until it changes. */
  get entries(): readonly InboxEntry[] {
    return this.#entries;
  }

  /**
   * Joins; resolved with the inbox's first account. It then stays live until `disconnect`.
   *
   * @throws FleetLMError what the server refuses, `Unreachable`, `Disconnected`.
   */
  connect(): Promise<void> {
    if (this.#line?.isJoined) return Promise.resolve();
    this.#opening ??= new Opening(this.#connectTimeoutMs, (error) => this.#end(error));
    this.#line ??= this.#connection.attach({
      name: `inbox:${this.userId}`,
      params: () => ({}),
      joined: (reply) => this.#told(reply as WireInbox),
      left: () => {},
      closed: () => {},
      refused: (error) => this.#refused(error),
      events: { inbox_delta: (delta: WireInbox) => this.#told(delta) },
    });
    const { promise } = this.#opening;
    if (!this.#isShared) this.#connection.open();
    return promise;
  }

  disconnect(): void {
    this.#end(new FleetLMError("Disconnected", "the inbox was disconnected"));
  }

  #told(inbox: WireInbox): void {
    this.#entries = inboxOf(inbox);
    this.#connection.settled();
    this.#opening?.resolve();
    this.#opening = undefined;
    if (this.#line?.isJoined) this.emit("status", { status: "connected" });
    this.emit("inbox", this.#entries);
  }

  #refused(error: FleetLMError): void {
    this.#end(error);
    this.emit("error", error);
  }

  #end(error: FleetLMError): void {
    if (!this.#isShared) this.#connection.close(error.message);
    if (this.#line) this.#connection.detach(this.#line);
    this.#line = undefined;
    const opening = this.#opening;
    this.#opening = undefined;
    opening?.reject(error);
  }
}

function connectionOf(options: CommonOptions): Connection {
  const address = addressOf(options.url);
  const token = new Token(options.token);
  const sessions = new Sessions(new Rest(address.http, token));
  const { userId, WebSocket, heartbeatMs = HEARTBEAT_MS } = options;
  const probe = () => sessions.of(userId, undefined, 1);
  return new Connection({ socket: address.socket, userId, token, WebSocket, heartbeatMs, probe });
}
