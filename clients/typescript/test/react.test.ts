/** The hook in React, over a document that is not a browser's. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Window } from "happy-dom";
import { Server } from "./server.js";
import { END, Gate, START, agentOf, delta } from "./agent.js";

// React looks for a document when it is loaded, and the tests use Node's own network.
const window = new Window({ url: "http://localhost/" });
Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: false });
if (!("navigator" in globalThis)) Object.assign(globalThis, { navigator: window.navigator });
const { StrictMode, createElement } = await import("react");
const { createRoot } = await import("react-dom/client");
const { renderToString } = await import("react-dom/server");
const { useFleetLM } = await import("@fleetlm/client/react");
type View = ReturnType<typeof useFleetLM>;
type Options = Parameters<typeof useFleetLM>[0];

/** Renders the hook; its views can be waited for. */
function shown(options: Options) {
  let view: View | undefined;
  const looking = new Set<() => void>();
  function Chat() {
    view = useFleetLM(options);
    setImmediate(() => [...looking].forEach((look) => look()));
    return createElement(
      "ol",
      null,
      view.messages.map(({ key, text, state }) => createElement("li", { key, className: state }, text)),
    );
  }
  const root = createRoot(window.document.body.appendChild(window.document.createElement("div")) as never);
  root.render(createElement(StrictMode, null, createElement(Chat)));
  const until = (is: (view: View) => boolean) =>
    new Promise<View>((resolve) => {
      const look = () => {
        if (!view || !is(view)) return;
        looking.delete(look);
        resolve(view);
      };
      looking.add(look);
      look();
    });
  return { until, root, view: () => view! };
}

test("a component shows what is sent at once, the answer as it is written, and then both as they are stored", async (context) => {
  const server = await Server.start(context);
  const rest = new Gate();
  const agentId = await agentOf(context, server, async (_, say) => {
    say(...START, delta("Hello "));
    await rest.opened;
    say(delta("Alice."), ...END);
  });
  const options = { userId: "alice", agentId, url: server.url };
  const { until, root } = shown(options);
  context.after(() => root.unmount());
  const connected = await until(({ status }) => status === "connected");
  assert.equal(connected.messages.length, 0);
  const sent = connected.send("Hi");
  const sending = await until(({ messages }) => messages.length > 0);
  const key = sending.messages[0]!.key;
  assert.equal(sending.messages[0]!.text, "Hi");
  await sent;
  const streaming = await until(({ messages }) => messages[1]?.text === "Hello ");
  assert.deepEqual(
    streaming.messages.map(({ state }) => state),
    ["stored", "streaming"],
  );
  assert.equal(streaming.messages[0]!.key, key, "the key stays");
  assert.equal(window.document.querySelector("li.streaming")?.textContent, "Hello ");
  rest.open();
  const done = await until(({ messages, run }) => messages[1]?.state === "stored" && run === undefined);
  assert.deepEqual(
    done.messages.map(({ text, seq }) => [text, seq]),
    [
      ["Hi", 1],
      ["Hello Alice.", 2],
    ],
  );
  assert.equal(done.messages[1]!.key, streaming.messages[1]!.key, "the key stays");
  const { sessions } = await server.ask<{ sessions: object[] }>("GET", "/api/sessions");
  assert.equal(sessions.length, 1, "an effect that runs twice makes one session");
});

test("older messages are loaded on demand, a refusal is shown, and a stopped answer is kept", async (context) => {
  const server = await Server.start(context);
  const agentId = await agentOf(context, server, async (_, say, response) => {
    say(...START, delta("endless"));
    await new Promise((resolve) => response.on("close", resolve));
  });
  const { session } = await server.ask<{ session: { id: string } }>("POST", "/api/sessions", {
    user_id: "alice",
    agent_id: agentId,
  });
  const path = `/api/sessions/${session.id}/messages`;
  for (const text of ["1", "2", "3"]) await server.ask("POST", path, { agent_id: agentId, content: { text } });
  const { until, root } = shown({
    userId: "alice",
    agentId,
    sessionId: session.id,
    url: server.url,
    lastSeq: "latest",
  });
  context.after(() => root.unmount());
  const connected = await until(({ status }) => status === "connected");
  assert.deepEqual([connected.messages.length, connected.hasOlder], [0, true]);
  await connected.loadOlder(2);
  const older = await until(({ messages }) => messages.length === 2);
  assert.deepEqual([older.messages.map(({ text }) => text), older.hasOlder], [["2", "3"], true]);
  await older.loadOlder();
  const all = await until(({ messages }) => messages.length === 3);
  assert.equal(all.hasOlder, false);
  await assert.rejects(all.send({ content: "no object" } as never));
  const failed = await until(({ messages }) => messages.at(-1)?.state === "failed");
  assert.equal(failed.messages.at(-1)!.error?.name, "InvalidMessageFormat");
  failed.dismiss(failed.messages.at(-1)!.key);
  await failed.send("go");
  const streaming = await until(({ messages }) => messages.at(-1)?.text === "endless");
  await streaming.stop();
  const stopped = await until(({ messages, run }) => messages.at(-1)?.state === "stored" && run === undefined);
  assert.deepEqual(
    stopped.messages.map(({ text }) => text),
    ["1", "2", "3", "go", "endless"],
  );
});

test("a page that is rendered on a server shows an idle session and connects to nothing", async () => {
  const Chat = () =>
    createElement("p", null, useFleetLM({ userId: "alice", agentId: "bot", url: "http://127.0.0.1:1" }).status);
  assert.equal(renderToString(createElement(Chat)), "<p>idle</p>");
});
