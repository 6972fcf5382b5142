// The stock `phoenix` client through a session's life. Prints a line per step; the test kills and restarts the server
// when it is asked to. Any failed expectation ends the script with its reason.

import assert from "node:assert/strict";
import { Socket, LongPoll } from "phoenix";

const { URL_BASE, SESSION_ID, TRANSPORT } = process.env;
const topic = `session:${SESSION_ID}`;
const polls = TRANSPORT === "LongPoll";

process.on("unhandledRejection", (error) => {
  console.log("FAILED", error);
  process.exit(1);
});

function open(identity, options = {}) {
  const params = identity === "bot" ? { agent_id: "bot" } : { user_id: identity };
  const socket = new Socket(URL_BASE, { params, heartbeatIntervalMs: 200, ...options });
  socket.connect();
  return socket;
}

// The outcome of a join or push as a promise.
function outcome(push) {
  return new Promise((resolve) => {
    push.receive("ok", (response) => resolve(["ok", response]));
    push.receive("error", (response) => resolve(["error", response]));
    push.receive("timeout", () => resolve(["timeout"]));
  });
}

// A queue of a channel's events of one name.
function events(channel, name) {
  const arrived = [];
  const waiting = [];
  channel.on(name, (payload) => (waiting.length ? waiting.shift()(payload) : arrived.push(payload)));
  return {
    next: () => new Promise((resolve) => (arrived.length ? resolve(arrived.shift()) : waiting.push(resolve))),
    count: () => arrived.length,
  };
}

const step = (name) => console.log("step done:", name);
const alice = open("alice");

// Join from the beginning, then leave, then join with a cursor.
let channel = alice.channel(topic, {});
let [status, response] = await outcome(channel.join());
assert.equal(status, "ok");
assert.equal(response.session_id, SESSION_ID);
assert.deepEqual(response.messages.map((message) => message.seq), [1, 2]);
assert.equal(polls, alice.transport === LongPoll, "the transport is the one that was asked for");
step("join");

const closed = new Promise((resolve) => channel.onClose(resolve));
assert.equal((await outcome(channel.leave()))[0], "ok");
await closed;
step("leave");

let lastSeq = 1;
channel = alice.channel(topic, () => ({ last_seq: lastSeq }));
const joins = [];
let joined = () => {};
channel.join().receive("ok", (response) => {
  for (const message of response.messages) lastSeq = Math.max(lastSeq, message.seq);
  joins.push(response.messages.map((message) => message.seq));
  joined();
});
await new Promise((resolve) => (joined = resolve));
assert.deepEqual(joins, [[2]]);
step("join with last_seq");

// The ack and the message.
const messages = events(channel, "message");
const sent = { content: { kind: "text", content: { text: "from the client" }, metadata: { tag: 1 } } };
assert.deepEqual(await outcome(channel.push("send", sent)), ["ok", { seq: 3 }]);
const message = await messages.next();
assert.equal(message.seq, 3);
assert.deepEqual([message.sender_id, message.content], ["alice", { text: "from the client" }]);
lastSeq = 3;
step("send");

const refused = await outcome(channel.push("send", { content: "text" }));
assert.equal(refused[0], "error");
assert.equal(refused[1].error, "invalid_message_format");
step("refused send");

// The agent's chunks.
const bot = open("bot");
const agentChannel = bot.channel(topic, { last_seq: 3 });
assert.equal((await outcome(agentChannel.join()))[0], "ok");
const chunks = events(channel, "stream_chunk");
for (const delta of ["Hel", "lo"]) {
  agentChannel.push("stream_chunk", { chunk: { type: "text-delta", id: "t", delta } });
  assert.deepEqual(await chunks.next(), { agent_id: "bot", chunk: { type: "text-delta", id: "t", delta } });
}
step("stream_chunk");

// Strangers and unknown topics.
const mallory = open("mallory");
const stranger = mallory.channel(topic, {});
assert.deepEqual(await outcome(stranger.join()), ["error", { reason: "unauthorized" }]);
stranger.leave();
const nowhere = mallory.channel("room:1", {});
assert.deepEqual(await outcome(nowhere.join()), ["error", { reason: "unmatched topic" }]);
nowhere.leave();
mallory.disconnect();
step("refused joins");

// The inbox.
const inbox = alice.channel("inbox:alice", {});
const [, { inbox: entries }] = await outcome(inbox.join());
assert.equal(entries[0].session_id, SESSION_ID);
const deltas = events(inbox, "inbox_delta");
assert.deepEqual((await outcome(agentChannel.push("send", { content: { content: { text: "hi" } } })))[1], { seq: 4 });
const delta = await deltas.next();
assert.equal(delta.inbox[0].last_sender_id, "bot");
assert.equal((await messages.next()).seq, 4);
lastSeq = 4;
step("inbox");

// A second channel object on the same topic: the client leaves the first by itself.
const second = alice.channel(topic, { last_seq: 4 });
assert.equal((await outcome(second.join()))[0], "ok");
const secondMessages = events(second, "message");
assert.deepEqual((await outcome(second.push("send", { content: { content: { text: "again" } } })))[1], { seq: 5 });
assert.equal((await secondMessages.next()).seq, 5);
assert.equal(messages.count(), 0, "the old channel hears nothing");
await outcome(second.leave());
channel = alice.channel(topic, () => ({ last_seq: lastSeq }));
lastSeq = 5;
joins.length = 0;
const rejoined = events(channel, "message");
channel.join().receive("ok", (response) => {
  joins.push(response.messages.map((message) => message.seq));
  joined();
});
await new Promise((resolve) => (joined = resolve));
step("duplicate join");

// Heartbeats; polling needs none.
if (!polls) {
  let beats = 0;
  await new Promise((resolve) => {
    alice.onMessage(({ topic, event }) => {
      if (topic === "phoenix" && event === "phx_reply" && ++beats === 3) resolve();
    });
  });
  step("heartbeat");
}

// The server dies and comes back with one more message: the client reconnects, rejoins with its cursor and has it.
const again = new Promise((resolve) => (joined = resolve));
console.log("kill and restart please");
await again;
const missed = joins.at(-1).includes(6) ? 6 : (await rejoined.next()).seq;
assert.equal(missed, 6);
lastSeq = 6;
assert.deepEqual((await outcome(channel.push("send", { content: { content: { text: "alive" } } })))[1], { seq: 7 });
while ((await rejoined.next()).seq !== 7);
step("restart");

console.log("all steps done");
process.exit(0);
