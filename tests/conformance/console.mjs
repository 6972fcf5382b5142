// A reader at the console, in a real browser: says something, sees it answered, loses the server and misses nothing. Everything is done
// by keys. Nothing may be logged as an error, no policy violated, and axe-core must find nothing to complain of.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import puppeteer from "puppeteer-core";

const { URL_BASE, CHROMIUM, SHOTS, HISTORY, AWAY } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = { timeout: 30_000, polling: 50 };

const browser = await puppeteer.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"],
});
process.on("unhandledRejection", failed);
process.on("uncaughtException", failed);

async function failed(error) {
  console.log("FAILED", error);
  for (const [at, page] of (await browser.pages()).entries())
    await page.screenshot({ path: `${SHOTS}/failed-${at}.png` }).catch(() => {});
  process.exit(1);
}

const complaints = [];
let isDown = false;

/** A page on which everything is noted that should not happen. */
async function reader({ width = 1280, height = 800, scheme = "light" } = {}) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([
    { name: "prefers-color-scheme", value: scheme },
    { name: "prefers-reduced-motion", value: "reduce" },
  ]);
  page.on("pageerror", (error) => complaints.push(`page: ${error.message}`));
  // A browser says of a connection that is refused what it likes; the page is asked what it made of it.
  page.on(
    "console",
    (message) => message.type() === "error" && !isDown && complaints.push(`console: ${message.text()}`),
  );
  await page.evaluateOnNewDocument(() =>
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      console.error(`policy: ${violatedDirective} ${blockedURI}`),
    ),
  );
  page.on("request", (request) => {
    if (!request.url().startsWith(URL_BASE) && !request.url().startsWith("data:"))
      complaints.push(`another host: ${request.url()}`);
  });
  return page;
}

const seqs = (page) => page.$$eval(".message[data-seq]", (rows) => rows.map((row) => Number(row.dataset.seq)));
const upto = (last, first = 1) => Array.from({ length: last - first + 1 }, (_, at) => first + at);
const textOf = (page, seq) => page.$eval(`.message[data-seq="${seq}"] .text`, ({ textContent }) => textContent);
const seen = (page, seq) => page.waitForSelector(`.message[data-seq="${seq}"]`, PATIENCE);
const says = (page, selector, text) =>
  page.waitForFunction(
    (selector, text) =>
      [...document.querySelectorAll(selector)].some((node) => !node.hidden && node.textContent.includes(text)),
    PATIENCE,
    selector,
    text,
  );
const focused = (page, selector) =>
  page.waitForFunction((selector) => document.activeElement?.matches(selector), PATIENCE, selector);
const shot = (page, name) => page.screenshot({ path: `${SHOTS}/${name}.png` });

async function say(page, text) {
  await focused(page, "textarea");
  await page.keyboard.type(text);
  await page.keyboard.press("Enter");
}

/** What axe-core complains of. It runs beside the page's own scripts, so the page's policy does not forbid it. */
async function judge(page, name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, help, nodes } of violations)
    complaints.push(`axe, ${name}: ${id}: ${help}: ${nodes.map(({ html }) => html).join(" ")}`);
}

mkdirSync(SHOTS, { recursive: true });

// A newcomer opens the page, types and has an answer.
const LATE = "Said while nobody listened";
const TEXT = "An answer that comes word by word: one, two, three, four, five, six.";
const alice = await reader();
await alice.goto(`${URL_BASE}/`);
await focused(alice, "textarea");
await alice.evaluate(() => {
  window.lengths = new Set();
  const note = () => window.lengths.add(document.querySelector(".message.live .text")?.textContent.length ?? 0);
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
});
await say(alice, TEXT);
await alice.waitForSelector(".message.live .text", PATIENCE);
await says(alice, ".run", "Echo is answering");
await shot(alice, "streaming");
await seen(alice, 2);
assert.equal(await textOf(alice, 1), TEXT);
assert.equal(await textOf(alice, 2), TEXT);
const lengths = await alice.evaluate(() => [...window.lengths]);
assert.ok(lengths.length > 4, `it came piece by piece: ${lengths}`);
await alice.waitForSelector(".message.live", { hidden: true, timeout: 30_000 });
const address = alice.url();
assert.match(address, /#\/chat\/[0-9A-Z]{26}$/);
console.log("answered");

// The modules that work things out do it right, as they are served.
const worked = await alice.evaluate(async () => {
  const { parse, quantile } = await import("/console/prometheus.js");
  const { Answer, partsOf } = await import("/console/answer.js");
  const { brief, bytes, duration } = await import("/console/words.js");
  const series = [];
  parse('# HELP a b\na_total{shard="1",class="x y"} 3\nb 0.5\nnonsense\n', (...one) => series.push(one));
  const answer = new Answer("a");
  for (const chunk of [
    { type: "start" },
    { type: "reasoning-start", id: "0" },
    { type: "reasoning-delta", id: "0", delta: "hm" },
    { type: "tool-input-start", toolCallId: "t", toolName: "sum" },
    { type: "tool-input-delta", toolCallId: "t", inputTextDelta: "[1," },
    { type: "tool-input-available", toolCallId: "t", toolName: "sum", input: [1, 2] },
    { type: "tool-output-available", toolCallId: "t", output: 3 },
    { type: "text-start", id: "0" },
    { type: "text-delta", id: "0", delta: "It is " },
    { type: "text-delta", id: "0", delta: "3." },
    { type: "text-end", id: "0" },
    { type: "text-start", id: "0" },
    { type: "text-delta", id: "0", delta: "Really." },
    { type: "of-tomorrow" },
    { type: "finish" },
  ]) {
    answer.take(chunk);
  }
  return {
    series,
    quantiles: [
      quantile(
        [
          [1, 0],
          [2, 10],
          [Infinity, 10],
        ],
        0.5,
      ),
      quantile(
        [
          [1, 0],
          [2, 1],
          [Infinity, 10],
        ],
        0.99,
      ),
      quantile(
        [
          [1, 0],
          [Infinity, 0],
        ],
        0.5,
      ),
      quantile([], 0.5),
    ],
    answer: answer.parts.map(({ type, text, output }) => [type, text ?? output]),
    isOver: answer.isOver,
    others: [partsOf({ content: { text: "x" } }), partsOf({ content: { a: 1 } }), partsOf({ content: null })],
    words: [
      brief(0),
      brief(0.4249),
      brief(118.4),
      brief(12_345),
      brief(null),
      bytes(1536),
      duration(7.25),
      duration(61_000),
    ],
  };
});
assert.deepEqual(worked, {
  series: [
    ["a_total", { shard: "1", class: "x y" }, 3],
    ["b", {}, 0.5],
  ],
  quantiles: [1.5, 2, null, null],
  answer: [
    ["reasoning", "hm"],
    ["tool-sum", 3],
    ["text", "It is 3."],
    ["text", "Really."],
  ],
  isOver: true,
  others: [[{ type: "text", text: "x" }], [{ type: "json", value: { a: 1 } }], [{ type: "json", value: null }]],
  words: ["0", "0.42", "118", "12.3k", "–", "1.5 KiB", "7.25 ms", "61.0 s"],
});

// A second page on the same session sees it live; text is text.
const second = await reader();
await second.goto(address);
await seen(second, 2);
await say(alice, "<img src=x onerror=alert(1)> <b>two</b> three four five six seven");
await second.waitForSelector(".message.live .text", PATIENCE);
await seen(second, 4);
assert.equal(await textOf(second, 4), "<img src=x onerror=alert(1)> <b>two</b> three four five six seven");
assert.equal(await second.$$eval(".message img, .message b", (found) => found.length), 0);
console.log("seen by both");

// An answer is stopped by a key.
await say(alice, Array.from({ length: 200 }, (_, at) => `word-${at}`).join(" "));
await says(alice, ".message.live .text", "word-3 ");
await alice.keyboard.press("Escape");
await alice.keyboard.press("x");
await seen(alice, 6);
await says(alice, ".run", "Echo was stopped");
await says(alice, '.message[data-seq="6"] .cut', "Cut off");
await shot(alice, "stopped");

// The server is killed in the middle of an answer, and comes back with more in its log.
await alice.keyboard.press("c");
await say(alice, Array.from({ length: 100 }, (_, at) => `again-${at}`).join(" "));
await says(alice, ".message.live .text", "again-3 ");
isDown = true;
console.log("kill please");
await says(alice, ".banner", "Connection lost");
await shot(alice, "lost");
await say(alice, LATE);
await says(alice, ".message.unsent", LATE);
console.log(`start please ${address.slice(-26)}`);
await Promise.all([alice, second].map((page) => says(page, ".banner", "Back.")));
isDown = false;
await says(alice, ".message[data-seq] .text", "while you were away");
// Seven from before, what was cut off, what others said meanwhile, what was typed, and its answer.
const LAST = 7 + 1 + Number(AWAY) + 1 + 1;
for (const page of [alice, second]) await seen(page, LAST);
await alice.waitForFunction(() => !document.querySelector(".message.unsent, .message.live"), PATIENCE);
// What it sees is what is in the log: all of it, once.
for (const page of [alice, second]) {
  const { messages } = await page.evaluate(
    (id) => fetch(`api/sessions/${id}/messages?limit=1000`).then((answer) => answer.json()),
    address.slice(-26),
  );
  assert.equal(messages.length, LAST);
  assert.deepEqual(await seqs(page), upto(LAST));
  const said = messages.map(({ content }) => content.text ?? content.parts.map(({ text }) => text).join(""));
  assert.deepEqual(
    await page.$$eval(".message[data-seq]", (rows) => rows.map((row) => row.querySelector(".text").textContent)),
    said,
  );
  assert.equal(
    messages.filter(({ sender_id, content }) => sender_id === "alice" && content.text === LATE).length,
    1,
    "sent once",
  );
}
await shot(alice, "back");
console.log("nothing missed");

// Older messages come as one scrolls up.
await alice.keyboard.press("Escape");
await alice.keyboard.press("/");
await focused(alice, "input[type=search]");
await alice.keyboard.type(HISTORY);
await alice.keyboard.press("Enter");
await seen(alice, 180);
assert.deepEqual(await seqs(alice), upto(180, 131));
await alice.keyboard.press("Escape");
await alice.focus(".thread");
await alice.waitForFunction(() => {
  document.querySelector(".thread").scrollTop = 0;
  return document.querySelector('.message[data-seq="1"]');
}, PATIENCE);
assert.deepEqual(await seqs(alice), upto(180));
await says(alice, ".beginning", "The beginning");

// What others say elsewhere is counted.
await alice.keyboard.press("n");
await focused(alice, "textarea");
console.log("say something please");
await says(alice, ".side nav .count", "1");
await says(alice, ".rows .count", "1");
console.log("counted");

// Keys alone: every view, the lists, the help.
await alice.keyboard.press("Escape");
await alice.keyboard.press("?");
await alice.waitForSelector("dialog[open]", PATIENCE);
await says(alice, "dialog", "New session");
await shot(alice, "keys");
await alice.keyboard.press("Escape");
await alice.waitForSelector("dialog", { hidden: true, timeout: 30_000 });
await alice.keyboard.press("3");
await says(alice, "main h1", "Inbox");
await alice.keyboard.press("j");
await focused(alice, "tr a");
await says(alice, "tr .count", "1");
await alice.keyboard.press("m");
await alice.waitForFunction(
  () => [...document.querySelectorAll(".side nav .count, .rows .count")].every(({ hidden }) => hidden),
  PATIENCE,
);
await alice.keyboard.press("Enter");
await seen(alice, 180);
await alice.keyboard.press("r");
await focused(alice, "input.rename");
await alice.keyboard.type("A new name");
await alice.keyboard.press("Enter");
await says(alice, ".head h1", "A new name");
await says(alice, ".rows .title", "A new name");
await alice.keyboard.press("2");
await says(alice, ".head h1", "Echo");
await says(alice, "td", "answered");
await alice.keyboard.press("5");
await says(alice, "main h1", "Storage");
await says(alice, "td", "good");
await says(alice, ".bar-top", "Ready");
await alice.keyboard.press("4");
await says(alice, "main h1", "Metrics");
await alice.waitForFunction(
  () => [...document.querySelectorAll(".chart .plot")].some((path) => path.getAttribute("d").includes("L")),
  PATIENCE,
);
await (await alice.waitForSelector("text/Table")).click();
await says(alice, "th", "messages_appended_total");
await shot(alice, "table");
console.log("by keys");

// How it looks, and whether everybody can use it.
for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    const page = await reader({ width, height: width === 390 ? 844 : 800, scheme });
    for (const [view, words] of [
      ["chat/new", "Say something"],
      [`chat/${address.slice(-26)}`, "while you were away"],
      ["agents/echo", "answered"],
      ["inbox", "A new name"],
      ["metrics", "p99"],
      ["storage", "free of"],
    ]) {
      await page.goto(`${URL_BASE}/#/${view}`);
      await says(page, "main", words);
      const name = `${view.split("/")[0]}${view.endsWith("/new") ? "-new" : ""}-${width}-${scheme}`;
      assert.ok(
        await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
        `${name} is wider than its window`,
      );
      await shot(page, name);
      await judge(page, name);
      console.log(`looked at ${name}`);
    }
    await page.goto(`${URL_BASE}/#/chat`);
    await says(page, ".rows", "A new name");
    await shot(page, `list-${width}-${scheme}`);
    await judge(page, `list-${width}-${scheme}`);
    await page.close();
  }
}

assert.deepEqual(complaints, []);
console.log("all steps done");
await browser.close();
process.exit(0);
