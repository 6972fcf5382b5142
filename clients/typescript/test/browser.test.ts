/**
 * A real browser, and a page from another origin than the server's, so that preflights and the origin check of sockets
 * are those of applications. Without a browser it says so and proves nothing; under `CI=true` that is a failure.
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { END, Gate, START, agentOf, delta } from "./agent.js";
import { PACKAGE } from "./places.js";
import { Proxy } from "./proxy.js";
import { Server } from "./server.js";

const places = [process.env["CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = places.find((place) => place !== undefined && existsSync(place));
if (executablePath === undefined) {
  assert.notEqual(process.env["CI"], "true", "CI must have a Chromium");
  console.log("\n!!! NOT TESTED: there is no Chromium: the client was not run in a browser\n");
}
const skip = executablePath === undefined;

let browser: Browser;
let origin: string;
let bundle: string;
let end = async () => {};

before(async () => {
  if (executablePath === undefined) return;
  const entry = join(PACKAGE, "test/pages/page.tsx");
  const defined = { "process.env.NODE_ENV": '"production"' };
  const built = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    jsx: "automatic",
    define: defined,
    logLevel: "warning",
  });
  bundle = built.outputFiles[0]!.text;
  const html =
    '<!doctype html><meta charset="utf-8"><title>page</title><body><script type="module" src="/page.js"></script>';
  const server = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.writeHead(200, {
      "content-type": isScript ? "text/javascript; charset=utf-8" : "text/html; charset=utf-8",
    });
    response.end(isScript ? bundle : html);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox"] });
  end = async () => {
    await browser.close();
    server.closeAllConnections();
    server.close();
  };
});

after(() => end());

/** A page with this query; its own errors fail the test. */
async function opened(fields: Record<string, string>): Promise<Page> {
  const page = await browser.newPage();
  page.on("pageerror", (error) => assert.fail(error as Error));
  await page.goto(`${origin}/?${new URLSearchParams(fields).toString()}`);
  return page;
}

async function say(page: Page, text: string): Promise<void> {
  await page.type("input", text);
  await page.keyboard.press("Enter");
}

/** Waits for the list to be this. */
const shows = (page: Page, ...lines: string[]) =>
  page.waitForFunction(
    (wanted: string) =>
      JSON.stringify([...document.querySelectorAll("li")].map((line) => `${line.className}: ${line.textContent}`)) ===
      wanted,
    {},
    JSON.stringify(lines),
  );

test(
  "a page talks to an agent, is loaded anew in mid-answer, and outlives a crash of the server",
  { skip },
  async (context) => {
    const server = await Server.start(context);
    const gates = [new Gate(), new Gate()];
    let calls = 0;
    const agentId = await agentOf(context, server, async (_, say) => {
      const gate = gates[calls++];
      say(...START, delta("one "));
      await gate?.opened;
      say(delta("two"), ...END);
    });
    const proxy = await Proxy.before(context, () => server.port);
    const page = await opened({ url: proxy.url, agent: agentId });
    await page.waitForSelector("main[data-status=connected]");
    await say(page, "Count");
    await shows(page, "stored: Count", "streaming: one ");
    const session = await page.$eval("main", (main) => main.dataset["session"]!);
    await page.goto(`${origin}/?${new URLSearchParams({ url: proxy.url, agent: agentId, session }).toString()}`);
    await shows(page, "stored: Count", "streaming: one ");
    proxy.cut();
    gates[0]!.open();
    await shows(page, "stored: Count", "stored: one two");
    await server.down();
    await page.waitForSelector("main[data-status=reconnecting]");
    await say(page, "Are you there?");
    await shows(page, "stored: Count", "stored: one two", "sending: Are you there?");
    await server.up();
    await shows(page, "stored: Count", "stored: one two", "stored: Are you there?", "streaming: one ");
    await page.click("button");
    await shows(page, "stored: Count", "stored: one two", "stored: Are you there?", "stored: one ");
    await page.close();
  },
);

test("useChat works in a page, with the agent that is built in", { skip }, async (context) => {
  const server = await Server.start(context);
  const page = await opened({ url: server.url, chat: "1" });
  await page.waitForSelector("input");
  await say(page, "Hello from a browser");
  await shows(page, "user: Hello from a browser", "assistant: Hello from a browser");
  await page.waitForSelector("main[data-status=ready]");
  await page.close();
});

test(
  "a page brings its token into the socket, and one without says that it was not let in",
  { skip },
  async (context) => {
    const secret = "a secret of the tests, long enough for HS256";
    const folder = mkdtempSync(join(tmpdir(), "fleetlm-secret-"));
    context.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "secret"), secret);
    const server = await Server.start(context, "--auth", "required", "--jwt-secret-file", join(folder, "secret"));
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = `${part({ alg: "HS256" })}.${part({ sub: "alice", exp: Math.floor(Date.now() / 1000) + 60 })}`;
    const token = `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
    const page = await opened({ url: server.url, token, agent: "nobody" });
    await page.waitForSelector("main[data-status=connected]");
    await say(page, "It is me");
    await shows(page, "stored: It is me");
    await page.close();
    const stranger = await opened({ url: server.url, agent: "nobody" });
    await stranger.waitForSelector("[role=alert]");
    assert.equal(await stranger.$eval("[role=alert]", (alert) => alert.textContent), "Unauthenticated");
    await stranger.close();
  },
);
