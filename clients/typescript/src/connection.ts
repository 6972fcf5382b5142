/**
 * One socket that comes back: dials, tells why it could not, waits, asks for a fresh token, dials again. Its lines join
 * by themselves. phoenix speaks the protocol and beats the heart; when to reconnect is decided here, for a token may
 * have to be fetched before, and a browser does not say why a handshake failed.
 */

import { backoffMs } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { FleetLMError, asError, isAboutToken } from "./errors.js";
import { type Leaving, Line, type Topic, type Trunk } from "./line.js";
import { type Socket, newSocket } from "./phoenix.js";
import type { Token } from "./token.js";
import type { StatusEvent } from "./types.js";
import { type WebSocketClass, webSocketClass } from "./websocket.js";

/** A handshake that takes longer is not going to succeed. */
const DIAL_MS = 10_000;
/** So many tokens in a row may be refused before it is said that there is no good one. */
const REFUSALS_MAX = 3;

/** Close codes with a meaning (RFC 6455 section 7.4.1, docs/protocol.md). */
const ABNORMAL = 1006;
const POLICY = 1008;
const TOO_LARGE = 1009;
const RESTART = 1012;

export interface Options {
  /** `ws://host/socket` */
  socket: string;
  userId: string;
  token: Token;
  WebSocket: WebSocketClass | undefined;
  heartbeatMs: number;
  /** A request that shows why sockets are refused: its error is the reason. */
  probe: () => Promise<unknown>;
}

interface Events {
  status: StatusEvent;
  draining: { reason: string };
  /** What will be tried again. What will not is told to the lines. */
  error: FleetLMError;
}

export class Connection extends Emitter<Events> implements Trunk {
  readonly #options: Options;
  readonly #lines = new Set<Line>();
  /** One for all dials: phoenix adds listeners to the page for each socket, and never takes them away. */
  #socket: Socket | undefined;
  #isWanted = false;
  /** A socket is open or being opened: its end is news. */
  #isLive = false;
  #wasOpen = false;
  #attempts = 0;
  #refusals = 0;
  /** The token of the moment was used for a connection: the next one asks for another. */
  #hasDialed = false;
  /** Counts dials, so that what belongs to an earlier one is known by it. */
  #dial = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #hurry = () => this.#timer !== undefined && !this.#isLive && this.#redial(0);

  constructor(options: Options) {
    super();
    this.#options = options;
  }

  /** Adds a topic, which is joined as soon as there is a connection. */
  attach(topic: Topic): Line {
    const line = new Line(topic, this);
    this.#lines.add(line);
    if (this.#isWanted && this.#socket?.isConnected()) line.begin(this.#socket);
    return line;
  }

  detach(line: Line): void {
    this.#lines.delete(line);
    line.end();
  }

  get isWanted(): boolean {
    return this.#isWanted;
  }

  open(): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#attempts = this.#refusals = 0;
    globalThis.addEventListener?.("online", this.#hurry);
    this.emit("status", { status: "connecting" });
    void this.#connect();
  }

  close(reason?: string): void {
    if (!this.#isWanted) return;
    this.#isWanted = false;
    globalThis.removeEventListener?.("online", this.#hurry);
    this.#hangUp("connection");
    // Not before: an answer to their leaving would be waited for.
    for (const line of this.#lines) line.end();
    this.emit("status", { status: "closed", ...(reason === undefined ? {} : { reason }) });
  }

  /** Begins anew, from the lines' cursors. */
  restart(reason: string): void {
    if (this.#isWanted) this.#lost(reason);
  }

  /** All is well: the next failure is a first one. */
  settled(): void {
    this.#attempts = this.#refusals = 0;
  }

  silent(): void {
    if (this.#isLive) this.#lost("no answer to heartbeats");
  }

  tokenRefused(error: FleetLMError): void {
    this.#hangUp("connection");
    this.#refusals += 1;
    if (!this.#options.token.isRefreshable || this.#refusals >= REFUSALS_MAX) return this.#fail(error);
    // The first at once: that tokens run out is nothing unusual.
    this.#redial(this.#refusals === 1 ? 0 : this.#nextDelay(), error.message);
  }

  async #connect(): Promise<void> {
    const dial = ++this.#dial;
    const isCurrent = () => this.#isWanted && this.#dial === dial;
    let transport: WebSocketClass;
    try {
      transport = await webSocketClass(this.#options.WebSocket);
    } catch (thrown) {
      return isCurrent() ? this.#fail(asError(thrown, "WebSocketMissing")) : undefined;
    }
    try {
      await (this.#hasDialed ? this.#options.token.refresh() : this.#options.token.ready());
    } catch (thrown) {
      const error = asError(thrown, "TokenUnavailable");
      if (!isCurrent()) return;
      this.emit("error", error);
      return this.#redial(this.#nextDelay(), error.message);
    }
    if (!isCurrent()) return;
    this.#hasDialed = true;
    this.#socket ??= this.#newSocket(transport);
    this.#isLive = true;
    this.#wasOpen = false;
    this.#timer = setTimeout(() => this.#lost("the handshake took too long"), DIAL_MS);
    this.#socket.connect();
  }

  #newSocket(transport: WebSocketClass): Socket {
    const { userId, token, heartbeatMs } = this.#options;
    const socket = newSocket(this.#options.socket, {
      params: { user_id: userId },
      transport,
      heartbeatIntervalMs: heartbeatMs,
      // phoenix itself would use it only where it is not told that the connection is lost: never.
      reconnectAfterMs: backoffMs,
      rejoinAfterMs: (tries) => Math.max(backoffMs(tries + 1), 50),
      // A function, for another token is there when it reconnects.
      ...(token.current === undefined ? {} : { authToken: () => token.current }),
    });
    socket.onOpen(() => {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#wasOpen = true;
      // Not before: a join that waits for its socket would be sent beside the one that phoenix repeats.
      for (const line of this.#lines) line.begin(socket);
    });
    // Some runtimes tell of a failed handshake by an error alone (Node.js 20); in the others the close comes right behind it.
    socket.onError(() => {
      const dial = this.#dial;
      setTimeout(() => {
        if (this.#isLive && dial === this.#dial && !socket.isConnected()) this.#closed({ code: ABNORMAL, reason: "" });
      });
    });
    socket.onClose((event) => {
      if (this.#isLive) this.#closed(event);
    });
    return socket;
  }

  #closed({ code, reason }: { code: number; reason: string }): void {
    if (code === POLICY) return this.tokenRefused(new FleetLMError("TokenExpired", reason || "token expired"));
    if (code === RESTART) this.emit("draining", { reason: reason || "the server shuts down" });
    if (!this.#wasOpen) return void this.#diagnose();
    this.#lost(reason || `closed with ${code}`, code === TOO_LARGE ? "too large" : "connection");
  }

  /** A handshake that failed for a reason that a browser keeps to itself. */
  async #diagnose(): Promise<void> {
    this.#hangUp("connection");
    const dial = this.#dial;
    const error = await this.#options.probe().then(
      () => undefined,
      (thrown: unknown) => asError(thrown, "Unreachable"),
    );
    if (!this.#isWanted || dial !== this.#dial) return;
    if (error && isAboutToken(error)) return this.tokenRefused(error);
    if (error && !error.retryable) return this.#fail(error);
    const why = error?.message ?? "requests are answered, but no socket is opened: is the page's origin allowed?";
    this.#redial(this.#nextDelay(), why);
  }

  #lost(reason: string, because: Leaving = "connection"): void {
    this.#hangUp(because);
    this.#redial(this.#nextDelay(), reason);
  }

  #nextDelay(): number {
    this.#attempts += 1;
    return backoffMs(this.#attempts);
  }

  #redial(delayMs: number, reason?: string): void {
    if (!this.#isWanted) return; // a listener had enough
    clearTimeout(this.#timer);
    this.emit("status", { status: "reconnecting", retryInMs: delayMs, ...(reason === undefined ? {} : { reason }) });
    if (!this.#isWanted) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#connect();
    }, delayMs);
  }

  #hangUp(because: Leaving): void {
    this.#dial += 1;
    this.#isLive = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#socket?.disconnect();
    for (const line of [...this.#lines]) line.leave(because);
  }

  /** Ends for a reason that another attempt would not change. */
  #fail(error: FleetLMError): void {
    const lines = [...this.#lines];
    this.close(error.message);
    for (const line of lines) line.topic.refused(error);
  }
}
