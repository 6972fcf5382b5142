/**
 * The answer to one message as a stream of chunks that the AI SDK's reader takes: it begins with one `start`, ends with
 * one terminal chunk, and has nothing missing in between, also when the connection was lost and the answer went on
 * without us.
 *
 * A run may make several messages (a team's do); here they are one, for a chat expects one. The terminal chunk is held
 * back until the run is over.
 */

import type { FleetLMClient } from "./client.js";
import type { Unsubscribe } from "./emitter.js";
import { FleetLMError } from "./errors.js";
import { type Part, Parts } from "./parts.js";
import { restOfAnswer } from "./rest-of-answer.js";
import type { Chunk, ChunkEvent, Message, RunEvent } from "./types.js";

/** What an answer is the answer of. */
export type Asked = { seq: number; otherRun: string | undefined } | { runId: string };

export interface StreamOptions {
  /** Milliseconds in which a run has to begin. Without an agent that is registered none ever does. */
  beginsWithinMs: number;
  signal?: AbortSignal | undefined;
}

interface Speaker {
  shown: Parts;
  isOver: boolean;
}

/** Streams an answer. `asked` may be settled later; what happens meanwhile is not lost. */
export function answerStream(
  client: FleetLMClient,
  asked: Promise<Asked>,
  options: StreamOptions,
): ReadableStream<Chunk> {
  let reader: AnswerReader | undefined;
  return new ReadableStream<Chunk>({
    start(controller) {
      reader = new AnswerReader(client, options, controller);
      return asked.then(
        (known) => reader?.begin(known),
        (error: unknown) => reader?.fail(error),
      );
    },
    cancel: () => reader?.end(),
  });
}

class AnswerReader {
  readonly #client: FleetLMClient;
  readonly #controller: ReadableStreamDefaultController<Chunk>;
  readonly #options: StreamOptions;
  readonly #unsubscribe: Unsubscribe[];
  /** What happened before it was known what is asked. */
  #early: (() => void)[] | undefined = [];
  #asked: Asked | undefined;
  #runId: string | undefined;
  /** Up to which message runs answer, of those that said so. */
  readonly #upto = new Map<string, number>();
  readonly #speakers = new Map<string, Speaker>();
  #hasStarted = false;
  #terminal: Chunk | undefined;
  #hasFailed = false;
  #isOpen = true;
  /** Nobody reads any more, and the run is to be stopped when it is known. */
  #isAborted = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(client: FleetLMClient, options: StreamOptions, controller: ReadableStreamDefaultController<Chunk>) {
    this.#client = client;
    this.#options = options;
    this.#controller = controller;
    const inOrder =
      <T>(take: (event: T) => void) =>
      (event: T) =>
        void (this.#early?.push(() => take(event)) ?? take(event));
    const abort = () => this.#abort();
    options.signal?.addEventListener("abort", abort);
    this.#unsubscribe = [
      client.on(
        "chunk",
        inOrder((event) => this.#chunk(event)),
      ),
      client.on(
        "message",
        inOrder((event) => this.#message(event)),
      ),
      client.on(
        "run",
        inOrder((event) => this.#run(event)),
      ),
      client.on("status", ({ status, reason }) => {
        if (status === "closed") this.fail(new FleetLMError("Disconnected", reason ?? "the client was disconnected"));
      }),
      () => options.signal?.removeEventListener("abort", abort),
    ];
    if (options.signal?.aborted) this.#abort();
  }

  begin(asked: Asked): void {
    this.#asked = asked;
    if ("runId" in asked) {
      // All that was shown before; what was heard of it meanwhile is part of that.
      this.#early = [];
      this.#adopt(asked.runId);
      for (const { agentId, chunk } of this.#client.chunksOf(asked.runId)) this.#show(agentId, chunk);
    } else {
      this.#await();
    }
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const take of early) take();
  }

  fail(error: unknown): void {
    if (this.#isOpen && !this.#isAborted) this.#controller.error(error);
    this.end();
  }

  end(): void {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }

  #await(): void {
    const late = () => this.fail(new FleetLMError("TimedOut", "no agent has begun to answer"));
    this.#timer = setTimeout(late, this.#options.beginsWithinMs);
  }

  /** The run is over and has left nothing: it failed, or a crash has put another one in its place. */
  #lost(runId: string): void {
    if (this.#hasStarted || !this.#asked || "runId" in this.#asked) {
      return this.fail(new FleetLMError("Interrupted", "the answer was given up; another one may be under way"));
    }
    this.#asked.otherRun = runId;
    this.#runId = undefined;
    this.#upto.delete(runId);
    this.#await();
  }

  #chunk({ runId, agentId, chunk }: ChunkEvent): void {
    if (!this.#isMine(runId, agentId)) return;
    this.#show(agentId, chunk);
    // Of an agent that is a client itself nothing more is heard.
    if (runId === undefined && this.#speakers.get(agentId)?.isOver) this.#close();
  }

  #message({ seq, senderId, kind, content, metadata }: Message): void {
    if (kind !== "assistant" || !this.#asked || ("seq" in this.#asked && seq <= this.#asked.seq)) return;
    const runId = typeof metadata["run_id"] === "string" ? metadata["run_id"] : undefined;
    const answers = metadata["reply_to"];
    if (runId !== undefined && typeof answers === "number") this.#upto.set(runId, answers);
    if (!this.#isMine(runId, senderId)) return;
    const speaker = this.#speakers.get(senderId);
    if (!speaker?.isOver) {
      const parts = Array.isArray(content["parts"]) ? (content["parts"] as Part[]) : [];
      for (const chunk of restOfAnswer(speaker?.shown ?? new Parts(), parts)) this.#show(senderId, chunk);
      this.#show(senderId, { type: metadata["termination"] === "abort" ? "abort" : "finish" });
    }
    this.#speakers.delete(senderId);
    if (runId === undefined) this.#close();
  }

  #run(run: RunEvent): void {
    if ("uptoSeq" in run) this.#upto.set(run.runId, run.uptoSeq);
    if (!this.#isMine(run.runId, run.agentId)) return;
    const { status } = run;
    if (status === "started" || status === "retrying" || status === "resumed") return;
    if (status === "ended" && run.seq === undefined) return this.#lost(run.runId);
    if (status === "failed" && !this.#hasFailed)
      this.#enqueue({ type: "error", errorText: `${run.reason}: ${run.detail}` });
    this.#close();
  }

  /** Whether it belongs to the answer. The first run that answers what was asked is the one. */
  #isMine(runId: string | undefined, agentId: string): boolean {
    if (!this.#asked) return false;
    if (this.#runId !== undefined) return runId === this.#runId;
    if ("runId" in this.#asked) return runId === this.#asked.runId;
    if (runId === undefined) return agentId === this.#client.agentId;
    const upto = this.#upto.get(runId);
    const is = upto === undefined ? runId !== this.#asked.otherRun : upto >= this.#asked.seq;
    if (is) this.#adopt(runId);
    return is;
  }

  #adopt(runId: string): void {
    this.#runId = runId;
    clearTimeout(this.#timer);
    if (this.#isAborted) this.#stop();
  }

  /** Hands on a chunk as the SDK's reader takes it. */
  #show(agentId: string, chunk: Chunk): void {
    const speaker = this.#speakers.get(agentId) ?? { shown: new Parts(), isOver: false };
    this.#speakers.set(agentId, speaker);
    if (speaker.isOver) [speaker.shown, speaker.isOver] = [new Parts(), false];
    const { type } = chunk;
    if (type === "start" && this.#hasStarted) return;
    if (!this.#hasStarted) {
      this.#hasStarted = true;
      const messageId = chunk["messageId"] ?? this.#runId;
      const named = typeof messageId === "string" ? { messageId } : {};
      if (type === "start") return this.#enqueue({ ...chunk, ...named });
      this.#enqueue({ type: "start", ...named });
    }
    if (type === "finish" || type === "abort") {
      speaker.isOver = true;
      this.#terminal = chunk;
      return;
    }
    const chunks = repaired(chunk, speaker.shown);
    speaker.shown.push(chunk);
    const voice = agentId === this.#client.agentId ? undefined : agentId;
    for (const told of chunks) this.#enqueue(named(told, voice));
  }

  #enqueue(chunk: Chunk): void {
    if (chunk.type === "error") this.#hasFailed = true;
    if (this.#isOpen && !this.#isAborted) this.#controller.enqueue(chunk);
  }

  #close(): void {
    if (this.#terminal) this.#enqueue(this.#terminal);
    if (this.#isOpen && !this.#isAborted) this.#controller.close();
    this.end();
  }

  /** The reader wants no more: the stream ends now, the run as soon as it is known. */
  #abort(): void {
    if (!this.#isOpen || this.#isAborted) return;
    this.#controller.close();
    this.#isAborted = true;
    if (this.#runId !== undefined) this.#stop();
  }

  #stop(): void {
    // It may be over already.
    this.#client.stop(this.#runId).catch(() => {});
    this.end();
  }
}

/** The server takes a delta without its start, and an end without one; the SDK's reader throws. */
function repaired(chunk: Chunk, shown: Parts): Chunk[] {
  const [, kind, action] = /^(text|reasoning)-(delta|end)$/.exec(chunk.type) ?? [];
  if (kind === undefined || shown.isOpen(kind, chunk["id"])) return [chunk];
  return action === "end" ? [] : [{ type: `${kind}-start`, id: chunk["id"] }, chunk];
}

/** Members of a team speak at once and may use the same ids. */
function named(chunk: Chunk, speaker: string | undefined): Chunk {
  const isStream = /^(text|reasoning)-/.test(chunk.type);
  return speaker === undefined || !isStream ? chunk : { ...chunk, id: `${speaker} ${String(chunk["id"])}` };
}
