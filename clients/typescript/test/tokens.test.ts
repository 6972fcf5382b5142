/** A server that wants tokens: they run out, are fetched anew, are the wrong ones. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FleetLMClient, Inbox } from "@fleetlm/client";
import { Server } from "./server.js";
import { clientOf, log, seqs, text, upTo } from "./waiting.js";

const SECRET = "a secret of the tests, long enough for HS256";

const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token for this user that ends in so many seconds. */
function tokenFor(sub: string, seconds: number): string {
  const signed = `${encoded({ alg: "HS256", typ: "JWT" })}.${encoded({ sub, exp: Math.floor(Date.now() / 1000) + seconds })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

async function guarded(context: TestContext): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), "fleetlm-secret-"));
  context.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "secret"), SECRET);
  return Server.start(context, "--auth", "required", "--jwt-secret-file", join(folder, "secret"));
}

test("a token that runs out is replaced, and nothing of the session is lost or doubled", async (context) => {
  const server = await guarded(context);
  const asked: number[] = [];
  const token = async () => {
    asked.push(Date.now());
    return tokenFor("alice", 2);
  };
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: server.url, token });
  const [messages, statuses, errors] = [log(client, "message"), log(client, "status"), log(client, "error")];
  await client.connect();
  await client.send(text("first"));
  const back = (from: number) => statuses.all.slice(from).some(({ status }) => status === "connected");
  for (const number of [2, 3]) {
    const from = statuses.all.length;
    await statuses.first(({ status }) => status === "reconnecting", from);
    assert.equal((await client.send(text(`after expiry ${number}`))).seq, number);
    assert.ok(back(from));
  }
  assert.deepEqual([seqs(messages.all), errors.all], [upTo(3), []]);
  assert.ok(asked.length >= 3, "a fresh token for each connection");
  assert.match(statuses.all.find(({ status }) => status === "reconnecting")?.reason ?? "", /token expired/);
});

test("a token that cannot be replaced ends the client by name", async (context) => {
  const server = await guarded(context);
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: server.url, token: tokenFor("alice", 4) });
  const [errors, statuses] = [log(client, "error"), log(client, "status")];
  await client.connect();
  const [error] = await Promise.all([errors.first(() => true), statuses.first(({ status }) => status === "closed")]);
  assert.deepEqual([error.name, client.status], ["TokenExpired", "closed"]);
});

test("the wrong token, none, and another user's are refused by name", async (context) => {
  const server = await guarded(context);
  const owner = clientOf(context, {
    userId: "alice",
    agentId: "bot",
    url: server.url,
    token: () => tokenFor("alice", 60),
  });
  await owner.connect();
  const { sessionId } = owner;
  const refused: [string | undefined, string][] = [
    [undefined, "Unauthenticated"],
    ["nonsense", "TokenInvalid"],
  ];
  for (const [token, name] of refused) {
    const client = clientOf(context, { userId: "alice", agentId: "bot", sessionId, url: server.url, token });
    await assert.rejects(client.connect(), { name });
  }
  const mallory = { userId: "mallory", agentId: "bot", sessionId, url: server.url, token: tokenFor("mallory", 60) };
  await assert.rejects(clientOf(context, mallory).connect(), { name: "Forbidden", retryable: false });
});

test("a callback that always gives refused tokens is not asked for ever, and one that fails is asked again", async (context) => {
  const server = await guarded(context);
  let asked = 0;
  const stale = () => {
    asked += 1;
    return tokenFor("alice", -100);
  };
  const hopeless = new FleetLMClient({ userId: "alice", agentId: "bot", url: server.url, token: stale });
  await assert.rejects(hopeless.connect(), { name: "TokenExpired" });
  assert.ok(asked <= 4, `${asked} tokens`);
  let failures = 2;
  const shaky = () => {
    if (failures-- > 0) throw new Error("the issuer is away");
    return tokenFor("alice", 60);
  };
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: server.url, token: shaky });
  await client.connect();
  assert.equal((await client.send(text("one"))).seq, 1);
});

test("an inbox is live, counts what is unread, and belongs to its user", async (context) => {
  const server = await guarded(context);
  const [alice, bot] = [() => tokenFor("alice", 60), () => tokenFor("bot", 60)];
  const client = clientOf(context, { userId: "alice", agentId: "bot", url: server.url, token: alice });
  await client.connect();
  const inbox = client.inbox();
  await inbox.connect();
  assert.deepEqual(
    inbox.entries.map(({ sessionId, unreadCount }) => [sessionId, unreadCount]),
    [[client.sessionId, 0]],
  );
  const changed = (is: (unread: number | undefined) => boolean) =>
    new Promise<void>((resolve) => {
      const unsubscribe = inbox.on("inbox", ([entry]) => {
        if (!is(entry?.unreadCount)) return;
        unsubscribe();
        resolve();
      });
    });
  const said = changed((unread) => unread === 0 && inbox.entries[0]?.lastSenderId === "alice");
  await client.send(text("mine is read by others"));
  await said;
  const other = new Inbox({ userId: "alice", url: server.url, token: bot });
  await assert.rejects(other.connect(), { retryable: false });
  const own = new Inbox({ userId: "alice", url: server.url, token: alice });
  context.after(() => own.disconnect());
  await own.connect();
  assert.equal(own.entries[0]?.lastSenderId, "alice");
  const gone = changed((unread) => unread === undefined);
  await client.archive();
  await gone;
  assert.deepEqual(inbox.entries, []);
  inbox.disconnect();
  assert.equal((await client.send(text("the client goes on"))).seq, 2);
});
