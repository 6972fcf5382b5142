/** What is unread, and that an inbox outlives its server. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Inbox, type InboxEntry } from "@fleetlm/client";
import { Server } from "./server.js";
import { Log, clientOf, text } from "./waiting.js";

test("an inbox counts what others said until it is read, and comes back after a crash", async (context) => {
  const server = await Server.start(context, "--echo-chunks-per-s", "1000");
  const client = clientOf(context, { userId: "alice", agentId: "echo", url: server.url });
  await client.connect();
  const inbox = new Inbox({ userId: "alice", url: server.url });
  context.after(() => inbox.disconnect());
  const seen = new Log<readonly InboxEntry[]>();
  inbox.on("inbox", (entries) => seen.push(entries));
  await inbox.connect();
  await client.send(text("Hello"));
  await seen.first(([entry]) => entry?.unreadCount === 1 && entry.lastSenderId === "echo");
  await client.markRead(2);
  await seen.first(([entry]) => entry?.unreadCount === 0, seen.all.length);
  await server.down();
  await server.up();
  const from = seen.all.length;
  await client.send(text("Again"));
  await seen.first(([entry]) => entry?.unreadCount === 1, from);
  assert.equal(inbox.entries[0]?.sessionId, client.sessionId);
});
