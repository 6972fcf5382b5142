/** The parts without a network: the table of errors, the queue, the place of a reader, addresses, tokens. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { addressOf } from "../src/address.js";
import { Answers } from "../src/answers.js";
import { backoffMs } from "../src/backoff.js";
import { Emitter } from "../src/emitter.js";
import { FleetLMError, SERVER_ERRORS, refusedOnChannel, refusedOverHttp } from "../src/errors.js";
import type { Outcome } from "../src/line.js";
import { Parts } from "../src/parts.js";
import { Sends } from "../src/sends.js";
import { Tail } from "../src/tail.js";
import { Token } from "../src/token.js";
import type { Chunk, JsonObject } from "../src/types.js";
import type { WireMessage } from "../src/wire.js";
import { repository } from "./places.js";

test("the names of errors, their texts and which may be tried again are the server's", () => {
  const lines = readFileSync(repository("docs/errors.md"), "utf8")
    .split("\n")
    .filter((line) => /^\| [A-Z]/.test(line));
  const rows = new Map(
    lines.map((line) => line.split("|").map((cell) => cell.trim())).map((cells) => [cells[1], cells]),
  );
  for (const [name, text, word] of SERVER_ERRORS) {
    const row = rows.get(name);
    assert.ok(row, `${name} stands in docs/errors.md`);
    if (text !== "") assert.equal(text, row[4]);
    if (word !== "") assert.equal(`\`${word}\``, row[8]);
    assert.equal(new FleetLMError(name, "").retryable, row[9] === "yes", name);
  }
});

test("an error has its name whether it came over HTTP or on a channel, and says when to come back", () => {
  const limited = refusedOverHttp(429, { error: "Too many requests" }, "3");
  assert.deepEqual(
    [limited.name, limited.status, limited.retryable, limited.retryAfterMs],
    ["RateLimited", 429, true, 3000],
  );
  const full = refusedOnChannel({ error: "disk full", retry_after_ms: 250 });
  assert.deepEqual([full.name, full.status, full.retryable, full.retryAfterMs], ["DiskFull", undefined, true, 250]);
  assert.equal(refusedOnChannel({ reason: "not found" }).name, "SessionNotFound");
  assert.deepEqual(
    [refusedOverHttp(502, undefined, null).name, refusedOverHttp(502, undefined, null).retryable],
    ["Refused", true],
  );
  assert.equal(refusedOverHttp(422, { errors: { name: ["is blank"] } }, null).message, "name: is blank");
});

/** A queue whose way to the server is the test's. */
function queue(queueMax: number, answer: (payload: JsonObject, attempt: number) => Outcome | Promise<Outcome>) {
  const pushed: JsonObject[] = [];
  const sends = new Sends(queueMax, async (payload) => {
    pushed.push(payload as JsonObject);
    return answer(payload as JsonObject, pushed.length);
  });
  return { sends, pushed, keys: () => pushed.map((payload) => payload["idempotency_key"]) };
}

const draft = (text: string) => ({ content: { text } });

test("what was refused for a while is sent again under its key, before what came behind it", async () => {
  const busy: Outcome = { refused: refusedOnChannel({ error: "overloaded", retry_after_ms: 1 }) };
  const { sends, pushed, keys } = queue(9, (_, attempt) => (attempt <= 2 ? busy : { ok: { seq: attempt } }));
  const receipts = Promise.all([sends.add(draft("a")), sends.add(draft("b"))]);
  assert.equal(pushed.length, 0, "nothing before there is a way");
  sends.open();
  assert.deepEqual(await receipts, [
    { seq: 3, replayed: false },
    { seq: 4, replayed: false },
  ]);
  assert.deepEqual([keys()[0], keys()[0]], [keys()[1], keys()[2]]);
  assert.notEqual(keys()[2], keys()[3]);
});

test("what was under way when the way closed is sent again, first, and a late answer changes nothing", async () => {
  let late: (outcome: Outcome) => void = () => {};
  const { sends, keys } = queue(9, (_, attempt) =>
    attempt === 1 ? new Promise((resolve) => (late = resolve)) : { ok: { seq: attempt, replayed: true } },
  );
  sends.open();
  const receipts = Promise.all([sends.add(draft("a")), sends.add(draft("b"))]);
  sends.close();
  sends.open();
  late({ ok: { seq: 99 } });
  assert.deepEqual(
    (await receipts).map(({ seq }) => seq),
    [2, 3],
  );
  assert.equal(keys()[0], keys()[1]);
});

test("a full queue refuses by name, a refusal for good is passed on, and the end refuses all", async () => {
  const { sends } = queue(2, () => ({ refused: refusedOnChannel({ error: "seq conflict", current_seq: 4 }) }));
  const [first, second] = [sends.add(draft("a"), { expectedSeq: 0 }), sends.add(draft("b"))];
  await assert.rejects(sends.add(draft("c")), { name: "QueueFull" });
  sends.open();
  await assert.rejects(first, { name: "SeqConflict" });
  await assert.rejects(second, { name: "SeqConflict" });
  sends.close();
  const third = sends.add(draft("d"));
  sends.refuseAll(new FleetLMError("Disconnected", "gone"));
  await assert.rejects(third, { name: "Disconnected" });
  assert.equal(sends.length, 0);
});

const wire = (seq: number, metadata = {}): WireMessage => {
  return { id: `m${seq}`, session_id: "s", seq, sender_id: "a", kind: "text", content: {}, metadata, inserted_at: "" };
};
const wirePage = (seqs: number[], last: number) => ({
  session_id: "s",
  messages: seqs.map((seq) => wire(seq)),
  has_more: false,
  last_seq: last,
});

/** A reader whose pages are the test's; what comes out of it, as text. */
function tailOf(pages: (seq: number) => Promise<number[]>) {
  const out: string[] = [];
  const tail: Tail = new Tail(0, async (seq) => wirePage(await pages(seq), 0), {
    message: ({ seq }) => out.push(`message ${seq}`),
    chunk: ({ runId, index }) => out.push(`chunk ${runId ?? "-"} ${index ?? "-"}`),
    run: (run) => out.push(`run ${run.runId} ${run.status}`),
    gap: (gap) => out.push(`gap ${gap.what} ${gap.from} ${gap.to}`),
    caughtUp: () => out.push("caught up"),
    restart: (reason) => out.push(`restart: ${reason}`),
  });
  return { tail, out, turn: () => new Promise((resolve) => setImmediate(resolve)) };
}

test("what is pushed while pages are read comes behind them, and nothing comes twice", async () => {
  const { tail, out, turn } = tailOf(async (seq) => [seq + 1, seq + 2]);
  tail.joined(wirePage([1, 2], 6));
  tail.message(wire(7));
  tail.chunk({ run_id: "r", index: 0, agent_id: "a", chunk: { type: "start" } });
  await turn();
  tail.message(wire(7));
  assert.deepEqual(out, [...[1, 2, 3, 4, 5, 6].map((seq) => `message ${seq}`), "caught up", "message 7", "chunk r 0"]);
});

test("a seq that is left out is told, read, and what came meanwhile follows it", async () => {
  const { tail, out, turn } = tailOf(async (seq) => [seq + 1]);
  tail.joined(wirePage([1], 1));
  await turn();
  tail.message(wire(4));
  tail.message(wire(5));
  tail.message(wire(9));
  await turn();
  const rest = ["gap messages 2 3", "message 2", "message 3", "message 4", "message 5", "gap messages 6 8"];
  assert.deepEqual(out, ["message 1", "caught up", ...rest, ...[6, 7, 8, 9].map((seq) => `message ${seq}`)]);
});

test("a page that cannot be had makes the reader begin anew from where it is", async () => {
  const { tail, out, turn } = tailOf(async () => Promise.reject(new Error("away")));
  tail.joined(wirePage([1], 5));
  await turn();
  assert.deepEqual(out, ["message 1", "restart: a page could not be read: away"]);
  assert.deepEqual(tail.params(), { last_seq: 1, limit: 1000, resume: true });
});

test("a reader comes back to the chunk it is at, and is told of a run that ended meanwhile", async () => {
  const { tail, out, turn } = tailOf(async () => []);
  const chunk = (index: number) => tail.chunk({ run_id: "r", index, agent_id: "a", chunk: { type: "x" } });
  tail.joined(wirePage([], 0));
  await turn();
  for (const index of [0, 1]) chunk(index);
  assert.deepEqual(tail.params(), { last_seq: 0, limit: 1000, run_id: "r", index: 2 });
  tail.joined({ ...wirePage([], 0), run: { run_id: "r", agent_id: "a", state: "answering", index: 2 } });
  await turn();
  for (const index of [1, 2, 4]) chunk(index);
  const { messages } = { messages: [wire(1, { run_id: "r" })] };
  tail.joined({ ...wirePage([], 1), messages, run: null });
  await turn();
  assert.deepEqual(out, [
    "caught up",
    "chunk r 0",
    "chunk r 1",
    "run r resumed",
    "caught up",
    "chunk r 2",
    "gap chunks 3 4",
    "chunk r 4",
    "message 1",
    "run r ended",
    "caught up",
  ]);
});

test("parts are what the AI SDK's reducer makes of whole chunks", () => {
  const { cases } = JSON.parse(readFileSync(repository("tests/conformance/assembler.json"), "utf8")) as {
    cases: { name: string; chunks: Chunk[]; parts: JsonObject[] }[];
  };
  // What is still coming, or is not for showing, is left out on purpose.
  const isWhole = ({ chunks, name }: { chunks: Chunk[]; name: string }) =>
    !chunks.some(({ type }) => type === "tool-input-delta") &&
    /^(a text|an empty text|data|texts|text|steps|escapes|preliminary|files|metadata$)/.test(name);
  const tried = cases.filter(isWhole);
  assert.ok(tried.length >= 10, `${tried.length} cases`);
  for (const { name, chunks, parts } of tried) {
    const assembled = new Parts();
    for (const chunk of chunks) assembled.push(chunk);
    const plain = JSON.parse(JSON.stringify(assembled.parts)) as JsonObject[];
    assert.deepEqual(
      plain.map((part) => ({ ...part, preliminary: undefined })),
      parts.map((part) => ({ ...part, preliminary: undefined })),
      name,
    );
  }
});

test("several agents of one run are shown side by side until their messages come", () => {
  const answers = new Answers();
  const say = (agentId: string, delta: string, index: number) =>
    answers.chunk({ agentId, runId: "r", index, chunk: { type: "text-delta", id: "t", delta } });
  say("a", "one", 0);
  say("b", "two", 1);
  const shown = answers.list;
  assert.deepEqual(
    shown.map(({ agentId, text }) => [agentId, text]),
    [
      ["a", "one"],
      ["b", "two"],
    ],
  );
  assert.equal(answers.list, shown, "the same list until something changes");
  answers.message({
    id: "",
    sessionId: "",
    seq: 2,
    senderId: "a",
    kind: "assistant",
    content: {},
    metadata: {},
    insertedAt: "",
  });
  assert.deepEqual(
    answers.list.map(({ agentId }) => agentId),
    ["b"],
  );
  answers.run({ runId: "r", agentId: "t", attempt: 1, uptoSeq: 1, status: "finished", seq: 3 });
  assert.deepEqual(answers.list, []);
});

test("addresses, waits and tokens", async () => {
  assert.deepEqual(addressOf("https://x.example/fleet/"), {
    http: "https://x.example/fleet",
    socket: "wss://x.example/fleet/socket",
  });
  assert.deepEqual(addressOf("ws://x:1"), { http: "http://x:1", socket: "ws://x:1/socket" });
  assert.deepEqual(addressOf(undefined), { http: "http://localhost:4000", socket: "ws://localhost:4000/socket" });
  assert.deepEqual(
    [1, 2, 7, 99].map((attempt) => backoffMs(attempt, () => 1)),
    [100, 250, 10_000, 10_000],
  );
  assert.equal(
    backoffMs(3, () => 0),
    250,
  );
  let given = 0;
  const token = new Token(async () => `t${++given}`);
  assert.deepEqual(await Promise.all([token.ready(), token.refresh()]), ["t1", "t1"], "one request for all who wait");
  assert.equal(await token.ready(), "t1");
  assert.equal(await token.refresh(), "t2");
});

test("a listener that throws harms nobody else", (context) => {
  class Loud extends Emitter<{ word: string }> {
    say(word: string): void {
      this.emit("word", word);
    }
  }
  const loud = new Loud();
  const heard: string[] = [];
  let reported: unknown;
  context.mock.method(globalThis, "queueMicrotask", (work: () => void) => {
    try {
      work();
    } catch (error) {
      reported = error;
    }
  });
  loud.on("word", () => {
    throw new Error("mine");
  });
  loud.on("word", (word) => heard.push(word));
  loud.say("a");
  assert.deepEqual(heard, ["a"]);
  assert.equal((reported as Error).message, "mine");
});
