/**
 * A user's view of one session: what was said, what is being said, and a way to say something, over a connection that
 * comes and goes.
 *
 * Owns nothing of how: the connection comes back (`connection`), the tail keeps the place (`tail`), the queue keeps
 * what is to be sent (`sends`), and this puts them together.
 */

import { addressOf } from "./address.js";
import { type Answer, Answers } from "./answers.js";
import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { FleetLMError, asError } from "./errors.js";
import { Inbox } from "./inbox.js";
import type { Leaving, Line, Outcome } from "./line.js";
import { CONNECT_TIMEOUT_MS, type ClientOptions, HEARTBEAT_MS, QUEUE_MAX } from "./options.js";
import { Opening } from "./opening.js";
import { Rest } from "./rest.js";
import { type SendOptions, Sends } from "./sends.js";
import { type HistoryOptions, Sessions } from "./sessions.js";
import { Tail } from "./tail.js";
import { Token } from "./token.js";
import type {
  Chunk,
  ClientEvents,
  Draft,
  Message,
  Page,
  Receipt,
  RunEvent,
  Session,
  Status,
  StatusEvent,
} from "./types.js";
import type { WireChunk, WireJoined, WireMessage, WireRun } from "./wire.js";

/** A read mark or a stop that is not answered by then goes over REST. */
const EVENT_MS = 5_000;

export class FleetLMClient extends Emitter<ClientEvents> {
  readonly userId: string;
  readonly agentId: string;
  /** Requests on sessions over REST, also on others than this one. */
  readonly sessions: Sessions;
  readonly #options: ClientOptions;
  readonly #connection: Connection;
  readonly #sends: Sends;
  readonly #answers = new Answers();
  readonly #tail: Tail;
  #sessionId: string | undefined;
  #creating: Promise<Session> | undefined;
  #line: Line | undefined;
  #status: Status = "idle";
  #run: RunEvent | undefined;
  #opening: Opening | undefined;
  #inbox: Inbox | undefined;
  /** The replay begins at the session's end, wherever that is. */
  #isFromLatest: boolean;

  constructor(options: ClientOptions) {
    super();
    const { userId, agentId, sessionId, queueMax = QUEUE_MAX, heartbeatMs = HEARTBEAT_MS, WebSocket } = options;
    if (!userId) throw new FleetLMError("InvalidOptions", "userId is required");
    if (!agentId && !sessionId) throw new FleetLMError("InvalidOptions", "agentId or sessionId is required");
    this.userId = userId;
    this.agentId = agentId;
    this.#options = options;
    this.#sessionId = sessionId;
    this.#isFromLatest = options.lastSeq === "latest";
    const address = addressOf(options.url);
    const token = new Token(options.token);
    this.sessions = new Sessions(new Rest(address.http, token));
    const probe = () => this.sessions.find(this.sessionId);
    this.#connection = new Connection({ socket: address.socket, userId, token, WebSocket, heartbeatMs, probe });
    this.#connection.on("status", (event) => this.#changed(event));
    this.#connection.on("draining", (event) => this.emit("draining", event));
    this.#connection.on("error", (error) => this.emit("error", error));
    this.#sends = new Sends(queueMax, (payload, timeoutMs) => this.#push("send", payload, timeoutMs));
    const lastSeq = typeof options.lastSeq === "number" ? options.lastSeq : 0;
    this.#tail = new Tail(lastSeq, (seq) => this.sessions.after(this.sessionId, seq), {
      message: (message) => this.#said(message),
      chunk: (chunk) => {
        this.#answers.chunk(chunk);
        this.emit("chunk", chunk);
      },
      run: (run) => this.#ran(run),
      gap: (gap) => this.emit("gap", gap),
      caughtUp: () => this.#caughtUp(),
      restart: (reason, error) => {
        if (error && !error.retryable) this.#fail(error);
        else this.#connection.restart(reason);
      },
    });
  }

  /**
   * The session's id.
   *
   * @throws FleetLMError `InvalidOptions` before `connect` has created it.
   */
  get sessionId(): string {
    if (this.#sessionId === undefined) throw new FleetLMError("InvalidOptions", "the session is created by connect()");
    return this.#sessionId;
  }

  /** The seq of the last message that was delivered: what a reconnect goes on from. */
  get lastSeq(): number {
    return this.#tail.lastSeq;
  }

  get status(): Status {
    return this.#status;
  }

  /** What is being answered, as far as it was shown. The same array until something changes. */
  get answers(): readonly Answer[] {
    return this.#answers.list;
  }

  /** The run that is under way, as it was last heard of. */
  get run(): RunEvent | undefined {
    return this.#run;
  }

  /** Sends that wait for their answer. */
  get queued(): number {
    return this.#sends.length;
  }

  /** The chunks of the run's unfinished messages. */
  chunksOf(runId: string): { agentId: string; chunk: Chunk }[] {
    return this.#answers.chunksOf(runId);
  }

  /**
   * Connects, creating the session if there is none; resolved when everything missed was delivered. From then on the
   * client comes back by itself until `disconnect`.
   *
   * @throws FleetLMError what the server refuses (`SessionNotFound`, `Unauthorized`, `TokenExpired`, ..), `Unreachable`
   *   after `connectTimeoutMs`, `Disconnected`.
   */
  connect(): Promise<void> {
    if (this.#status === "connected") return Promise.resolve();
    if (this.#opening) return this.#opening.promise;
    if (this.#connection.isWanted) return (this.#opening = this.#newOpening()).promise;
    const opening = (this.#opening = this.#newOpening());
    this.#changed({ status: "connecting" });
    void this.#open(opening);
    return opening.promise;
  }

  /** Leaves. What waits to be sent is refused with `Disconnected`; `connect` may be called again. */
  disconnect(): void {
    this.#end(new FleetLMError("Disconnected", "the client was disconnected"));
  }

  /**
   * Sends a message as the user; resolved when it is durable. While there is no connection it waits, in order, and is
   * never stored twice.
   *
   * @throws FleetLMError `QueueFull`, `Disconnected`, or the server's refusal.
   */
  send(draft: Draft, options?: SendOptions): Promise<Receipt> {
    return this.#sends.add(draft, options);
  }

  /** A page of messages, ascending: below `before` (the last ones without it), or above `after`. */
  history(options?: HistoryOptions): Promise<Page> {
    return this.sessions.page(this.sessionId, options);
  }

  /** All messages, page by page: from the first one above `after` on, or backwards from below `before`. */
  async *messages({ before, after, limit }: HistoryOptions = {}): AsyncGenerator<Message[], void, undefined> {
    const isBackward = before !== undefined;
    let at = isBackward ? before : (after ?? 0);
    for (let hasMore = true; hasMore;) {
      const place = isBackward ? { before: at } : { after: at };
      const page = await this.history({ ...place, ...(limit === undefined ? {} : { limit }) });
      if (page.messages.length === 0) return;
      yield page.messages;
      hasMore = page.hasMore;
      at = (isBackward ? page.messages[0]?.seq : page.messages.at(-1)?.seq) ?? at;
    }
  }

  /**
   * Moves the user's read cursor forward, to the last delivered message without a seq. Resolved with where it stands
   * now.
   */
  async markRead(seq: number = this.lastSeq): Promise<number> {
    const outcome = await this.#push("read", { last_seq: seq }, EVENT_MS);
    if ("refused" in outcome) throw outcome.refused;
    const lastSeq =
      "ok" in outcome
        ? (outcome.ok as { last_seq: number }).last_seq
        : await this.sessions.markRead(this.sessionId, this.userId, seq);
    this.emit("read", { userId: this.userId, lastSeq });
    return lastSeq;
  }

  /** Who has read up to where. */
  cursors(): Promise<Record<string, number>> {
    return this.sessions.cursors(this.sessionId);
  }

  /**
   * Ends a run for everybody, the one under way without an id; resolved when what it has produced is durable.
   *
   * @throws FleetLMError `RunNotFound` when nothing runs.
   */
  async stop(runId: string | undefined = this.#run?.runId): Promise<void> {
    const outcome = await this.#push("stop", runId === undefined ? {} : { run_id: runId }, EVENT_MS);
    if ("refused" in outcome) throw outcome.refused;
    if ("ok" in outcome) return;
    if (runId === undefined) throw new FleetLMError("Disconnected", "there is no connection, and no run is known");
    await this.sessions.stop(this.sessionId, runId);
  }

  /** The session as the server has it. */
  session(): Promise<Session> {
    return this.sessions.find(this.sessionId);
  }

  async rename(title: string): Promise<Session> {
    const session = await this.sessions.rename(this.sessionId, title);
    this.emit("session", { status: "renamed", session });
    return session;
  }

  /** Takes the session out of the inbox. It can still be read and written to. */
  async archive(): Promise<void> {
    await this.sessions.archive(this.sessionId);
    this.emit("session", { status: "archived", session: await this.session() });
  }

  /** Deletes the session and its messages for good, for everybody. */
  async deleteForGood(): Promise<void> {
    await this.sessions.deleteForGood(this.sessionId);
  }

  /** The user's inbox, over this client's connection: call its `connect`. */
  inbox(): Inbox {
    const { connectTimeoutMs } = this.#options;
    return (this.#inbox ??= new Inbox({ userId: this.userId, connectTimeoutMs }, this.#connection));
  }

  #newOpening(): Opening {
    return new Opening(this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS, (error) => this.#end(error));
  }

  async #open(opening: Opening): Promise<void> {
    try {
      await opening.retrying(() => this.#prepare());
    } catch (thrown) {
      if (this.#opening === opening) this.#end(asError(thrown, "Unreachable"));
      return;
    }
    if (this.#opening !== opening) return;
    this.#line = this.#connection.attach({
      name: `session:${this.sessionId}`,
      params: () => this.#tail.params(),
      joined: (reply) => this.#tail.joined(reply as WireJoined),
      left: (because) => this.#left(because),
      refused: (error) => this.#fail(error),
      closed: () => this.#deleted(),
      events: {
        message: (message: WireMessage) => this.#tail.message(message),
        stream_chunk: (chunk: WireChunk) => this.#tail.chunk(chunk),
        run: (run: WireRun) => this.#tail.run(run),
      },
    });
    this.#connection.open();
  }

  /** Everything that has to be known before the first join. */
  async #prepare(): Promise<void> {
    if (this.#sessionId === undefined) {
      const { userId, agentId, title, metadata } = this.#options;
      this.#creating ??= this.sessions
        .create({ userId, agentId, title, metadata })
        .finally(() => (this.#creating = undefined));
      const session = await this.#creating;
      if (this.#sessionId === undefined) {
        this.#sessionId = session.id;
        this.emit("session", { status: "created", session });
      }
    }
    if (!this.#isFromLatest) return;
    this.#tail.lastSeq = await this.sessions.lastSeq(this.sessionId);
    this.#isFromLatest = false;
  }

  #push(event: string, payload: object, timeoutMs: number): Promise<Outcome> {
    return this.#line?.push(event, payload, timeoutMs) ?? Promise.resolve({ lost: "connection" });
  }

  #said(message: Message): void {
    this.#answers.message(message);
    this.emit("message", message);
  }

  #ran(run: RunEvent): void {
    this.#answers.run(run);
    const isUnderWay = run.status === "started" || run.status === "retrying" || run.status === "resumed";
    if (isUnderWay) this.#run = run;
    else if (this.#run?.runId === run.runId) this.#run = undefined;
    this.emit("run", run);
  }

  #caughtUp(): void {
    this.#connection.settled();
    this.#changed({ status: "connected" });
    this.#sends.open();
    this.#opening?.resolve();
    this.#opening = undefined;
  }

  #left(because: Leaving): void {
    this.#tail.left();
    this.#sends.close();
    if (because === "too large")
      this.#sends.refuseFirst(new FleetLMError("MessageTooLarge", "the server takes no message of this size"));
    // What becomes of the connection it says itself, with a reason.
    if (because === "topic" && this.#status === "connected")
      this.#changed({ status: "reconnecting", reason: "the session is joined again" });
  }

  #deleted(): void {
    this.emit("session", { status: "deleted", sessionId: this.sessionId });
    this.#end(new FleetLMError("SessionNotFound", "the session was deleted"));
  }

  /** Another attempt would not change it. */
  #fail(error: FleetLMError): void {
    this.emit("error", error);
    this.#end(error);
  }

  #end(error: FleetLMError): void {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#connection.close(error.message);
    if (this.#line) this.#connection.detach(this.#line);
    this.#line = undefined;
    this.#tail.left();
    this.#sends.refuseAll(error);
    if (this.#status !== "idle") this.#changed({ status: "closed", reason: error.message });
    opening?.reject(error);
  }

  #changed(event: StatusEvent): void {
    // The connection's own end and ours are one; a wait's length is news each time.
    if (event.status === this.#status && event.retryInMs === undefined) return;
    this.#status = event.status;
    this.emit("status", event);
  }
}
