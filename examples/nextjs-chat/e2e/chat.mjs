/**
 * The whole example, as its reader runs it: FleetLM (`FLEETLM_BIN`), the built project, the registration, and a person at
 * a browser (`CHROMIUM`). Needs what `npm ci` and `npm run build` have made; says `passed` behind its last claim.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import puppeteer from "puppeteer-core";

/** A guard against hanging, not a measurement. */
const WAIT_MS = 20_000;
const SECRET = "known to FleetLM and to the webhook";
const places = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = places.find((place) => place && existsSync(place));
const binary = process.env.FLEETLM_BIN;
assert.ok(binary, "FLEETLM_BIN names the server's binary");
assert.ok(executablePath, "CHROMIUM names a browser");

/** What is to be ended, last things first. */
const endings = [];
const data = mkdtempSync(join(tmpdir(), "fleetlm-nextjs-"));
endings.push(async () => rmSync(data, { recursive: true, force: true }));
// Without what the caller's own environment would tell the programs; what stands here also wins over an `.env.local`.
const told = ([name]) => !/^(FLEETLM_|PORT$|RUST_LOG$)/.test(name);
const own = { OPENAI_API_KEY: "", AGENT_ID: "nextjs-chat", CHAT_USER_ID: "alice", FLEETLM_API_KEY: "" };
const env = { ...Object.fromEntries(Object.entries(process.env).filter(told)), ...own };

/** Starts a program with all that it starts in turn; resolved with the port that it says it listens on. */
async function start(command, words, more = {}) {
  const stdio = ["ignore", "pipe", "inherit"];
  const child = spawn(command, words, { stdio, detached: true, env: { ...env, ...more } });
  const end = async (signal = "SIGTERM") => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    process.kill(-child.pid, signal);
    await exit;
  };
  endings.push(end);
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /https?:\/\/(?:127\.0\.0\.1|localhost):(\d+)/.exec(line)?.[1];
    if (!port) continue;
    child.stdout.resume();
    return { port: Number(port), end };
  }
  throw new Error(`${command} ${words.join(" ")} did not start`);
}

function startFleetLM(port = 0) {
  const small = ["--shards", "2", "--unpinned", "--spin-us", "0", "--segment-bytes", "16777216"];
  return start(binary, ["--listen", `127.0.0.1:${port}`, "--data-dir", data, ...small]);
}

async function register(told) {
  const child = spawn("npm", ["run", "register"], { stdio: ["ignore", "pipe", "inherit"], env: { ...env, ...told } });
  const lines = [];
  for await (const line of createInterface({ input: child.stdout })) lines.push(line);
  if (child.exitCode === null) await once(child, "exit");
  assert.equal(child.exitCode, 0, `npm run register: ${lines.join("\n")}`);
  return lines.join("\n");
}

/** Calls the webhook as FleetLM does, or nearly so. */
async function call(app, { secret = SECRET, age_s = 0, isSigned = true } = {}) {
  const body = JSON.stringify({ messages: [{ seq: 1, sender_id: "alice", kind: "text", content: { text: "Hi" } }] });
  const timestamp = String(Math.floor(Date.now() / 1000) - age_s);
  const signature = `v1=${createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex")}`;
  const signed = { "x-fleetlm-timestamp": timestamp, "x-fleetlm-signature": signature };
  const headers = { "content-type": "application/json", ...(isSigned ? signed : {}) };
  const response = await fetch(`${app}/webhook`, { method: "POST", headers, body });
  return { status: response.status, text: await response.text() };
}

async function theWebhookAnswersFleetLMAlone(app) {
  const answer = await call(app);
  assert.equal(answer.status, 200);
  assert.match(answer.text, /"type":"text-delta"/);
  assert.equal((await call(app, { isSigned: false })).status, 401, "unsigned");
  assert.equal((await call(app, { secret: "another" })).status, 401, "signed by somebody else");
  assert.equal((await call(app, { age_s: 3_600 })).status, 401, "signed an hour ago");
}

class Person {
  constructor(page) {
    this.page = page;
    page.setDefaultTimeout(WAIT_MS);
  }

  async say(text) {
    await this.page.type("textarea", text);
    await this.page.keyboard.press("Enter");
  }

  /** Waits until the page shows it. */
  sees(selector, text = "") {
    const isThere = (selector, text) =>
      [...document.querySelectorAll(selector)].some((element) => element.textContent.includes(text));
    return this.page.waitForFunction(isThere, { polling: "raf" }, selector, text);
  }

  async press(text) {
    await this.page.click(`::-p-xpath(//button[normalize-space()="${text}"])`);
  }

  said() {
    return this.page.$$eval("article", (articles) => articles.map(({ textContent }) => textContent));
  }

  async look(name) {
    if (process.env.SCREENSHOTS) await this.page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
  }
}

async function anAnswerStreamsAndSurvivesAReload(person) {
  await person.sees("main[data-status=connected]");
  await person.say("Hello, FleetLM");
  await person.sees("article[data-state=streaming]", "You said");
  await person.page.reload();
  await person.sees("article.agent[data-state=streaming]", "You said");
  await person.sees("article.agent[data-state=stored]", "you will not miss a word.");
  const before = await person.said();
  assert.equal(before.length, 2);
  assert.match(before[1], /^You said: “Hello, FleetLM”\. I am a mock model.* word\.$/);
  await person.page.reload();
  await person.sees("article.agent[data-state=stored]", "You said");
  assert.deepEqual(await person.said(), before);
  await person.sees("nav li", "Hello, FleetLM");
  await person.look("answered");
}

async function anAnswerIsStopped(person) {
  await person.press("New chat");
  await person.sees(".empty");
  await person.look("empty");
  await person.say("Please count");
  await person.sees("article[data-state=streaming]", "1 2 3");
  await person.look("streaming");
  await person.press("Stop");
  await person.sees("article.agent[data-state=stored]", "stopped");
  assert.doesNotMatch((await person.said())[1], /500/);
  await person.sees("form button", "Send");
}

async function aLostConnectionComesBack(person, server) {
  await server.end("SIGKILL");
  await person.sees(".banner", "Coming back");
  await person.look("reconnecting");
  await person.say("Are you there again?");
  await startFleetLM(server.port);
  await person.sees("article.agent[data-state=stored]", "Are you there again?");
  assert.equal(await person.page.$(".banner"), null);
}

async function theSessionsAreListed(person) {
  await person.sees("nav li", "Please count");
  await person.press("Hello, FleetLM");
  await person.sees("article.agent[data-state=stored]", "Hello, FleetLM");
  await person.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
  await person.look("dark");
}

/** A phone: nothing is wider than it, and one can write at once, with a short conversation, a long one, and many sessions. */
async function aPhoneShowsAllOfIt(person) {
  await person.page.setViewport({ width: 390, height: 844, hasTouch: true, isMobile: true });
  await person.sees("article.agent[data-state=stored]", "Hello, FleetLM"); // to become a phone is to load the page again
  for (const value of ["light", "dark"]) {
    await person.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
    await fits(person, `phone-${value}`);
  }
  await person.say(`one_word_without_end_${"x".repeat(200)} ${"and many that have one ".repeat(30)}`);
  await person.sees("article.agent[data-state=stored]", "one_word_without_end");
  await fits(person, "phone-long");
  for (let count = 0; count < 6; count++) await person.press("New chat");
  await person.sees(".empty");
  await fits(person, "phone-sessions");
}

async function fits(person, name) {
  await person.look(name);
  const found = await person.page.evaluate(() => {
    const wide = [...document.querySelectorAll("body, body *")].filter((element) => {
      const { left, right } = element.getBoundingClientRect();
      return left < -1 || right > innerWidth + 1;
    });
    const composer = document.querySelector("form").getBoundingClientRect();
    const messages = document.querySelector(".messages").getBoundingClientRect();
    return {
      wide: wide.map(({ tagName, className }) => `${tagName}.${className}`),
      scrolls: document.documentElement.scrollWidth > innerWidth,
      isComposerThere: composer.top >= 0 && composer.bottom <= innerHeight && composer.height > 40,
      isRoomToRead: messages.height > innerHeight / 3,
      fontSize: getComputedStyle(document.querySelector("textarea")).fontSize,
    };
  });
  // A smaller letter makes phones zoom into the field.
  assert.deepEqual(found, { wide: [], scrolls: false, isComposerThere: true, isRoomToRead: true, fontSize: "16px" }, name);
}

async function main() {
  const server = await startFleetLM();
  const FLEETLM_URL = `http://127.0.0.1:${server.port}`;
  const options = { FLEETLM_URL, WEBHOOK_SECRET: SECRET };
  const next = await start("npm", ["start", "--", "--port", "0", "--hostname", "127.0.0.1"], options);
  const app = `http://127.0.0.1:${next.port}`;
  assert.match(await register({ ...options, APP_URL: app }), /^registered nextjs-chat/m);
  assert.match(await register({ ...options, APP_URL: app }), /^updated nextjs-chat/m);
  await theWebhookAnswersFleetLMAlone(app);

  const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox"] });
  endings.push(() => browser.close());
  const page = await browser.newPage();
  await page.setViewport({ width: 1200, height: 760 });
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("response", (response) => {
    const isOfThePage = new URL(response.url()).origin === app;
    if (isOfThePage && response.status() >= 400) errors.push(`${response.status()}: ${response.url()}`);
  });
  page.on("request", (request) => {
    if (!/^(https?:\/\/127\.0\.0\.1:|data:)/.test(request.url())) errors.push(`asked for ${request.url()}`);
  });
  await page.goto(app);
  const person = new Person(page);
  try {
    await anAnswerStreamsAndSurvivesAReload(person);
    await anAnswerIsStopped(person);
    await aLostConnectionComesBack(person, server);
    await theSessionsAreListed(person);
    await aPhoneShowsAllOfIt(person);
  } catch (error) {
    console.error("the page:", await page.$eval("body", ({ innerText }) => innerText), errors);
    throw error;
  }
  assert.deepEqual(errors, []);
}

try {
  await main();
  console.log("passed");
} finally {
  for (const end of endings.reverse()) await end();
}
