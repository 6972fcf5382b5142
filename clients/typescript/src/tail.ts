/**
 * Where a reader is: the last seq, the running answer and its next chunk. What the server pushes goes through here and
 * comes out once and in order, or behind an event that says what is missing.
 *
 * A join's reply may leave off pages (`has_more`), and a push may leave out a seq. Until what lies between is read over
 * REST, everything that is pushed is held; when too much is held, or a page cannot be had, the reader begins anew from
 * its cursor.
 */

import { type FleetLMError, asError } from "./errors.js";
import type { ChunkEvent, GapEvent, Message, RunEvent } from "./types.js";
import {
  type WireChunk,
  type WireJoined,
  type WireMessage,
  type WirePage,
  type WireRun,
  type WireRunning,
  messageOf,
  runOf,
} from "./wire.js";

/** Pushes that are held while pages are read; more of them are cheaper to read again. */
const HELD_MAX = 10_000;

export interface Sink {
  message(message: Message): void;
  chunk(chunk: ChunkEvent): void;
  run(run: RunEvent): void;
  gap(gap: GapEvent): void;
  /** Nothing is missing any more. */
  caughtUp(): void;
  /** Join again, from the cursor of now. */
  restart(reason: string, error?: FleetLMError): void;
}

type Held = () => void;

interface Running {
  runId: string;
  agentId: string;
  /** Of the chunk that comes next. */
  index: number;
  /** Of the last message that was made of it. */
  seq?: number;
}

export class Tail {
  lastSeq: number;
  #running: Running | undefined;
  #held: Held[] | undefined;
  /** Counts joins: pages that an earlier one asked for are not wanted any more. */
  #round = 0;
  readonly #pageAfter: (seq: number) => Promise<WirePage>;
  readonly #sink: Sink;

  constructor(lastSeq: number, pageAfter: (seq: number) => Promise<WirePage>, sink: Sink) {
    this.lastSeq = lastSeq;
    this.#pageAfter = pageAfter;
    this.#sink = sink;
  }

  /** What a join says of where we are. */
  params(): object {
    const run = this.#running;
    return {
      last_seq: this.lastSeq,
      limit: 1000,
      ...(run ? { run_id: run.runId, index: run.index } : { resume: true }),
    };
  }

  /** What waits for pages is void: the next join brings it again. */
  left(): void {
    this.#round += 1;
    this.#held = undefined;
  }

  joined(reply: WireJoined): void {
    this.left();
    if (reply.last_seq < this.lastSeq) {
      this.#sink.gap({ what: "rewound", from: this.lastSeq, to: reply.last_seq });
      this.lastSeq = reply.last_seq;
    }
    const round = this.#round;
    this.#held = [];
    this.#deliver(reply.messages);
    if (round !== this.#round) return; // a listener has disconnected
    void this.#catchUp(reply.last_seq, () => {
      this.#resume(reply.run ?? undefined);
      this.#sink.caughtUp();
    });
  }

  message(message: WireMessage): void {
    if (this.#hold(() => this.message(message)) || message.seq <= this.lastSeq) return;
    if (message.seq === this.lastSeq + 1) return this.#deliver([message]);
    this.#sink.gap({ what: "messages", from: this.lastSeq + 1, to: message.seq - 1 });
    this.#held = [() => this.message(message)];
    void this.#catchUp(message.seq - 1, () => {});
  }

  chunk(wire: WireChunk): void {
    if (this.#hold(() => this.chunk(wire))) return;
    const { run_id: runId, index, agent_id: agentId, chunk } = wire;
    if (runId === undefined || index === undefined) return this.#sink.chunk({ chunk, agentId });
    const run = this.#enter(runId, agentId);
    if (index < run.index) return;
    if (index > run.index) this.#sink.gap({ what: "chunks", runId, from: run.index, to: index });
    run.index = index + 1;
    this.#sink.chunk({ chunk, agentId, runId, index });
  }

  run(wire: WireRun): void {
    if (this.#hold(() => this.run(wire))) return;
    const isOver = wire.status === "finished" || wire.status === "stopped" || wire.status === "failed";
    if (isOver && this.#running?.runId === wire.run_id) this.#running = undefined;
    if (wire.status === "started") this.#enter(wire.run_id, wire.agent_id);
    this.#sink.run(runOf(wire));
  }

  #enter(runId: string, agentId: string): Running {
    if (this.#running?.runId !== runId) this.#running = { runId, agentId, index: 0 };
    return this.#running;
  }

  #hold(again: Held): boolean {
    if (!this.#held) return false;
    if (this.#held.length < HELD_MAX) this.#held.push(again);
    else this.#sink.restart("too much was pushed while pages were read");
    return true;
  }

  #deliver(messages: WireMessage[]): void {
    const round = this.#round;
    for (const message of messages) {
      if (message.seq <= this.lastSeq || round !== this.#round) continue;
      this.lastSeq = message.seq;
      if (this.#running && message.metadata["run_id"] === this.#running.runId) this.#running.seq = message.seq;
      this.#sink.message(messageOf(message));
    }
  }

  /** Reads pages up to `seq`, then does what was held. */
  async #catchUp(seq: number, then: () => void): Promise<void> {
    const round = this.#round;
    while (this.lastSeq < seq) {
      let page: WirePage;
      try {
        page = await this.#pageAfter(this.lastSeq);
      } catch (thrown) {
        const error = asError(thrown, "Unreachable");
        if (round === this.#round) this.#sink.restart(`a page could not be read: ${error.message}`, error);
        return;
      }
      if (round !== this.#round) return;
      const before = this.lastSeq;
      this.#deliver(page.messages);
      if (round !== this.#round) return;
      if (this.lastSeq === before) return this.#sink.restart("a page of messages was empty");
    }
    then();
    if (round !== this.#round) return;
    const held = this.#held ?? [];
    this.#held = undefined;
    for (let at = 0; at < held.length; at += 1) {
      if (round !== this.#round) return;
      if (this.#held) return void (this.#held as Held[]).push(...held.slice(at)); // another gap
      held[at]?.();
    }
  }

  /** Takes up the running answer where the server's account of it begins. */
  #resume(running: WireRunning | undefined): void {
    const known = this.#running;
    if (known && known.runId !== running?.run_id) {
      this.#running = undefined;
      const { runId, agentId, seq } = known;
      this.#sink.run({ runId, agentId, status: "ended", ...(seq === undefined ? {} : { seq }) });
    }
    if (!running) return;
    const { run_id: runId, agent_id: agentId, state, index } = running;
    const run = this.#enter(runId, agentId);
    if (known?.runId === runId && index > run.index)
      this.#sink.gap({ what: "chunks", runId, from: run.index, to: index });
    run.index = Math.max(run.index, index);
    this.#sink.run({ runId, agentId, status: "resumed", state, index });
  }
}
