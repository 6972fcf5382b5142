// The stock `phoenix` client with its own `authToken`, over WebSocket or by polling, against a server that asks for tokens: a good one
// opens the socket as its user, a bad one and none open nothing.

import assert from "node:assert/strict";
import { Socket } from "phoenix";

const { URL_BASE, SESSION_ID, GOOD, BAD } = process.env;

process.on("unhandledRejection", (error) => {
  console.log("FAILED", error);
  process.exit(1);
});

function outcome(push) {
  return new Promise((resolve) => {
    push.receive("ok", (response) => resolve(["ok", response]));
    push.receive("error", (response) => resolve(["error", response]));
  });
}

const socket = new Socket(URL_BASE, { authToken: GOOD });
socket.connect();
const channel = socket.channel(`session:${SESSION_ID}`, {});
const heard = new Promise((resolve) => channel.on("message", resolve));
assert.equal((await outcome(channel.join()))[0], "ok");
assert.equal((await outcome(channel.push("send", { content: { kind: "text", content: { text: "hi" } } })))[0], "ok");
assert.equal((await heard).sender_id, "alice");
assert.equal((await outcome(socket.channel("inbox:bob", {}).join()))[0], "error");
console.log("step done: a good token");
socket.disconnect();

for (const token of [BAD, undefined]) {
  const refused = new Socket(URL_BASE, { authToken: token });
  let opened = false;
  refused.onOpen(() => (opened = true));
  const failed = new Promise((resolve) => (refused.onError(resolve), refused.onClose(resolve)));
  refused.connect();
  await failed;
  assert.ok(!opened, "it opens nothing");
  refused.disconnect();
}
console.log("all steps done");
process.exit(0);
