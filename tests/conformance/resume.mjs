// The stock `phoenix` client in the middle of an answer: it joins with `resume`, loses its connection again and again,
// and rejoins with what it has. It must see every chunk once, and the message must be what the SDK makes of them.

import assert from "node:assert/strict";
import { Socket } from "phoenix";

const { URL_BASE, SESSION_ID, AGENT } = process.env;
const LOST_EVERY = 60;
const topic = `session:${SESSION_ID}`;

process.on("unhandledRejection", failed);
process.on("uncaughtException", failed);

function failed(error) {
  console.log("FAILED", error);
  process.exit(1);
}

const at = (path, body) => fetch(`${AGENT}${path}`, { method: "POST", body }).then((response) => response.json());
const soon = () => 5;

const chunks = [];
let [lastSeq, run, joins, answer] = [0, undefined, 0, undefined];
let ended = () => {};
let joined = () => {};

const socket = new Socket(URL_BASE, { params: { user_id: "alice" }, reconnectAfterMs: soon, rejoinAfterMs: soon });
socket.connect();
const known = () => (run ? { run_id: run, index: chunks.length } : { resume: true });
const channel = socket.channel(topic, () => ({ last_seq: lastSeq, ...known() }));

// The connection is gone as if the network were.
function lose() {
  if (socket.conn.terminate) socket.conn.terminate();
  else socket.conn.ontimeout();
}

function heard(message) {
  assert.equal(message.seq, lastSeq + 1, "messages come once and in order");
  lastSeq = message.seq;
  if (message.kind !== "assistant") return;
  answer = message;
  ended();
}

channel.on("message", heard);
channel.on("stream_chunk", ({ agent_id, chunk, run_id, index, ...more }) => {
  assert.deepEqual([run_id, index, more], [run, chunks.length, {}], "each chunk once and in order");
  assert.equal(answer, undefined, "the message follows the terminal chunk");
  chunks.push(chunk);
  if (chunk.type === "text-delta" && chunk.delta === "word-24 ") void at(`/go/${SESSION_ID}`).catch(failed);
  if (chunk.type === "text-delta" && chunk.delta === "almost ") {
    joined = () => at(`/go/${SESSION_ID}`).catch(failed);
    lose();
  } else if (chunks.length % LOST_EVERY === 0) {
    lose();
  }
});

const done = new Promise((resolve) => (ended = resolve));
channel.join().receive("ok", ({ messages, run: running }) => {
  assert.equal(running.state, "answering", "the answer is under way and held");
  assert.equal(running.index, chunks.length, "the chunks that follow are those that are missing");
  run ??= running.run_id;
  joins++;
  messages.forEach(heard);
  joined();
});
await done;

console.log(`${joins} joins`);
assert.ok(joins >= 3, `it has lost its connection in the middle: ${joins} joins`);
assert.equal(chunks.at(-1).type, "finish");
const text = chunks.filter(({ type }) => type === "text-delta").map(({ delta }) => delta).join("");
assert.equal(answer.content.parts.find(({ type }) => type === "text").text, text);
const { metadata, ...content } = await at("/reduce", JSON.stringify(chunks));
assert.deepEqual(answer.content, content);
assert.deepEqual([answer.metadata.run_id, answer.metadata.termination], [run, "finish"]);
console.log("all steps done");
process.exit(0);
