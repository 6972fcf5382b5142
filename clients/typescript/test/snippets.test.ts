/** Every snippet of the documentation is checked against the package, and the first one is run as it is printed. */

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { PACKAGE, repository } from "./places.js";
import { Server } from "./server.js";
import { Log } from "./waiting.js";

interface Snippet {
  language: string;
  code: string;
}

function snippets(path: string): Snippet[] {
  const blocks = readFileSync(path, "utf8").matchAll(/^```(\w+)\n([^]*?)^```$/gm);
  return [...blocks].map(([, language, code]) => ({ language: language!, code: code! }));
}

/** A folder from which the package is found by its name; it is not there before the test, nor after it. */
function folder(name: string, test: { after(done: () => void): void }): string {
  const path = join(PACKAGE, "build", name);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  test.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test("every snippet of the documentation is accepted by the compiler", (context) => {
  const path = folder("snippets", context);
  const all = [repository("docs/clients.md"), join(PACKAGE, "README.md")]
    .flatMap(snippets)
    .filter(({ language }) => /^tsx?$/.test(language));
  assert.ok(all.length >= 8, `${all.length} snippets`);
  for (const [index, { language, code }] of all.entries())
    writeFileSync(join(path, `snippet-${index}.${language}`), code);
  const compilerOptions = { noEmit: true, exactOptionalPropertyTypes: false, rootDir: path };
  writeFileSync(
    join(path, "tsconfig.json"),
    JSON.stringify({ extends: "../../tsconfig.json", compilerOptions, include: ["."] }),
  );
  try {
    execFileSync(process.execPath, [join(PACKAGE, "node_modules/typescript/bin/tsc"), "-p", path]);
  } catch (error) {
    assert.fail(String((error as { stdout: Buffer }).stdout));
  }
});

test("every event and every error of the client's own stands on the page", () => {
  const page = readFileSync(repository("docs/clients.md"), "utf8");
  const events = /interface ClientEvents {([^]*?)^}/m.exec(readFileSync(join(PACKAGE, "src/types.ts"), "utf8"))![1]!;
  for (const [, event] of events.matchAll(/^  (\w+):/gm)) assert.ok(page.includes(`| \`${event}\` |`), event);
  const errors = /type ClientErrorName =([^]*?);/.exec(readFileSync(join(PACKAGE, "src/errors.ts"), "utf8"))![1]!;
  for (const [, name] of errors.matchAll(/\| "(\w+)"/g)) assert.ok(page.includes(`\`${name}\``), name);
});

/** Runs a snippet in a world whose own origin is this server's, as in a page of it; its lines. */
function run(path: string, code: string, server: Server, done: (close: () => void) => void): Log<string> {
  writeFileSync(join(path, "snippet.mjs"), code);
  writeFileSync(join(path, "page.mjs"), `globalThis.location = { origin: ${JSON.stringify(server.url)} };\n`);
  const node = spawn(process.execPath, ["--import", join(path, "page.mjs"), join(path, "snippet.mjs")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  done(() => node.kill());
  const lines = new Log<string>();
  createInterface({ input: node.stdout }).on("line", (line) => lines.push(line));
  return lines;
}

test("the first snippet talks to the agent that is built in", async (context) => {
  const server = await Server.start(context, "--echo-chunks-per-s", "200");
  const [first] = snippets(repository("docs/clients.md")).filter(({ language }) => language === "ts");
  const lines = run(folder("first", context), first!.code, server, (close) => context.after(close));
  await lines.first((line) => line.startsWith("stream chunk from echo"));
  await lines.until((all) => all.filter((line) => line.startsWith("persisted message")).length === 2);
});

test("the code with which the client was asked for runs to the letter", async (context) => {
  const server = await Server.start(context, "--echo-chunks-per-s", "200");
  const asked = `import { FleetLMClient } from "@fleetlm/client";

const client = new FleetLMClient({
  userId: "alice",
  agentId: "demo-agent",
  sessionId: "01K6GR2EV9Z7PSMEVVJ5M954CH" // optional: provide or let the SDK create one
});

client.on("message", (msg) => {
  console.log("persisted message", msg);
});

client.on("chunk", ({ chunk, agentId }) => {
  console.log("stream chunk from", agentId, chunk);
});

await client.connect();
await client.send({ kind: "text", content: { text: "Hello FleetLM!" } });
`;
  const echo = { id: "demo-agent", name: "Demo", origin_url: "builtin:echo?chunks_per_s=200", debounce_window_ms: 0 };
  await server.ask("POST", "/api/agents", { agent: echo });
  const made = { user_id: "alice", agent_id: "demo-agent" };
  const { session } = await server.ask<{ session: { id: string } }>("POST", "/api/sessions", made);
  const code = asked.replace("01K6GR2EV9Z7PSMEVVJ5M954CH", session.id);
  const lines = run(folder("asked", context), code, server, (close) => context.after(close));
  await lines.first((line) => line.startsWith("stream chunk from demo-agent"));
  await lines.until((all) => all.filter((line) => line.startsWith("persisted message")).length === 2);
});
