// A client whose WebSockets never open falls back to polling by itself (`longPollFallbackMs`).

import assert from "node:assert/strict";
import { Socket, LongPoll } from "phoenix";

class Blocked {
  readyState = 0;
  constructor() {
    setTimeout(() => {
      this.readyState = 3;
      this.onerror?.({ type: "error" });
      this.onclose?.({ code: 1006, wasClean: false });
    }, 0);
  }
  send() {}
  close() {}
}

const { URL_BASE, SESSION_ID } = process.env;
const socket = new Socket(URL_BASE, { params: { user_id: "alice" }, transport: Blocked, longPollFallbackMs: 100 });
socket.connect();
const channel = socket.channel(`session:${SESSION_ID}`, {});
const messages = await new Promise((resolve) => channel.join().receive("ok", (response) => resolve(response.messages)));
assert.equal(socket.transport, LongPoll);
assert.deepEqual(messages.map((message) => message.seq), [1, 2]);
const echoed = new Promise((resolve) => channel.on("message", resolve));
channel.push("send", { content: { content: { text: "by poll" } } });
assert.equal((await echoed).seq, 3);
console.log("all steps done");
process.exit(0);
