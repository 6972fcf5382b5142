// An operator at the console, in a real browser: registers an agent and a team, changes and disables them, deletes a session for good, and
// looks at the disk. By keys where there are keys; axe-core must find nothing to complain of, wide and narrow, light and dark.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { mkdirSync, readFileSync } from "node:fs";
import puppeteer from "puppeteer-core";

const { URL_BASE, CHROMIUM, SHOTS } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = { timeout: 30_000, polling: 50 };
const browser = await puppeteer.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"],
});
process.on("unhandledRejection", failed);
process.on("uncaughtException", failed);
mkdirSync(SHOTS, { recursive: true });
const complaints = [];
const page = await browser.newPage();

async function failed(error) {
  console.log("FAILED", error);
  await page.screenshot({ path: `${SHOTS}/failed-edit.png` }).catch(() => {});
  process.exit(1);
}

page.on("pageerror", (error) => complaints.push(`page: ${error.message}`));
// A browser says itself of every refusal; this one is meant.
const isMeant = (text) => text.includes("422");
page.on("console", (message) => {
  if (message.type() === "error" && !isMeant(message.text())) complaints.push(`console: ${message.text()}`);
});

const says = (selector, text) =>
  page.waitForFunction(
    (selector, text) =>
      [...document.querySelectorAll(selector)].some((node) => !node.hidden && node.textContent.includes(text)),
    PATIENCE,
    selector,
    text,
  );
const opened = () => page.waitForSelector("dialog[open]", PATIENCE);
const closed = () => page.waitForFunction(() => !document.querySelector("dialog"), PATIENCE);
const stored = async (id) => {
  const answer = await page.evaluate((id) => fetch(`api/agents/${id}`).then((answer) => answer.json()), id);
  return answer.agent;
};

async function type(selector, text) {
  await page.focus(selector);
  await page.keyboard.down("Control");
  await page.keyboard.press("a");
  await page.keyboard.up("Control");
  await page.keyboard.type(text);
}

async function press(words, within = ".head") {
  await (await page.waitForSelector(`${within} ::-p-text(${words})`, PATIENCE)).click();
}

/** How it looks, and whether everybody can use it. */
async function judge(name) {
  for (const scheme of ["light", "dark"]) {
    for (const width of [1280, 400]) {
      await page.setViewport({ width, height: 844 });
      await page.emulateMediaFeatures([
        { name: "prefers-color-scheme", value: scheme },
        { name: "prefers-reduced-motion", value: "reduce" },
      ]);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} is too wide`);
      await page.screenshot({ path: `${SHOTS}/${name}-${width}-${scheme}.png` });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      for (const { id, help, nodes } of violations)
        complaints.push(`axe, ${name}: ${id}: ${help}: ${nodes.map(({ html }) => html).join(" ")}`);
    }
  }
  await page.setViewport({ width: 1280, height: 844 });
}

await page.setViewport({ width: 1280, height: 844 });
await page.goto(`${URL_BASE}/#/agents`);
await says(".head h1", "Echo");
assert.equal(await page.$(".head ::-p-text(Edit)"), null, "what is built in is not to be changed");

// An agent: what the server refuses stands at its field.
await page.keyboard.press("a");
await opened();
await type("#agent-id", "support");
await type("#agent-origin_url", "http://127.0.0.1:9");
await type("#agent-timeout_ms", "soon");
await type("#agent-secret", "hush");
await page.keyboard.press("Enter");
await says("#agent-name-wrong", "can't be blank");
await says("#agent-timeout_ms-wrong", "is invalid");
assert.equal(await page.evaluate(() => document.activeElement.id), "agent-name", "the first of them has the focus");
await judge("agent-refused");
await type("#agent-name", "Support");
await type("#agent-timeout_ms", "2500");
await page.keyboard.press("Enter");
await says(".head h1", "Support");
const made = await stored("support");
assert.deepEqual([made.name, made.timeout_ms, made.secret], ["Support", 2500, "[redacted]"]);
assert.ok(!(await page.content()).includes("hush"), "a secret is written and not shown");
console.log("registered");

// Only what was changed is sent: what was not named stays, the secret too, until it is taken away.
await page.keyboard.press("Escape");
await page.keyboard.press("e");
await opened();
assert.equal(await page.$eval("#agent-id", ({ readOnly }) => readOnly), true);
assert.equal(await page.$eval("#agent-secret", ({ value }) => value), "");
await type("#agent-name", "Helpers");
await page.$eval("dialog details", (more) => (more.open = true));
await type("#agent-keywords", "bill, invoice");
await type("#agent-headers", "x-a: 1");
await judge("agent-edit");
await type("#agent-name", "Helpers");
await page.keyboard.press("Enter");
await says(".head h1", "Helpers");
const edited = await stored("support");
assert.deepEqual(
  [edited.keywords, edited.headers, edited.secret, edited.timeout_ms],
  [["bill", "invoice"], { "x-a": "[redacted]" }, "[redacted]", 2500],
);
await closed();
await page.keyboard.press("e");
await opened();
await page.click("#agent-secret-none");
await page.focus("#agent-name");
await page.keyboard.press("Enter");
await closed();
const open = await stored("support");
assert.deepEqual([open.secret, open.headers], [null, { "x-a": "[redacted]" }]);
console.log("edited");

// A team, whose members are looked at by the server.
await page.keyboard.press("a");
await opened();
await type("#agent-id", "crew");
await press("Team", "dialog");
assert.equal(await page.$eval("#agent-id", ({ value }) => value), "crew", "what was typed stays");
await type("#agent-name", "Crew");
await type("#agent-team-members", "support, nobody");
await page.select("#agent-team-mode", "parallel");
await page.focus("#agent-name");
await page.keyboard.press("Enter");
await page.waitForSelector("#agent-team-members[aria-invalid]", PATIENCE);
await type("#agent-team-members", "support");
await page.keyboard.press("Enter");
await says(".head h1", "Crew");
const { team } = await stored("crew");
assert.deepEqual([team.members, team.mode], [["support"], "parallel"]);
await closed();
console.log("a team");

// Disabled after a question, whose first button does nothing, and enabled again.
await press("Disable");
await opened();
await judge("agent-disable");
await page.focus("dialog .actions button");
await page.keyboard.press("Enter");
await closed();
assert.equal((await stored("crew")).status, "enabled");
await press("Disable");
await opened();
await press("Disable", "dialog .actions");
await says(".head", "disabled");
assert.equal((await stored("crew")).status, "disabled");
await press("Enable");
await page.waitForFunction(() => !document.querySelector(".head").textContent.includes("disabled"), PATIENCE);
console.log("disabled and enabled");

// A session is deleted for good: by two presses, and nothing of it is left.
await page.goto(`${URL_BASE}/#/chat/new`);
await page.waitForFunction(() => document.activeElement?.matches("textarea"), PATIENCE);
await page.keyboard.type("Not for long");
await page.keyboard.press("Enter");
await page.waitForSelector('.message[data-seq="2"]', PATIENCE);
const id = page.url().slice(-26);
await press("Delete");
await opened();
await judge("session-delete");
assert.equal(await page.evaluate(() => document.activeElement.textContent), "Cancel", "a second Enter does no harm");
await press("Delete for good", "dialog .actions");
await says("main", "Say something");
await page.waitForFunction((id) => !document.querySelector(`a[href="#/chat/${id}"]`), PATIENCE, id);
// Asked for beside the page, which would note the 404 as an error.
assert.equal((await fetch(`${URL_BASE}/api/sessions/${id}`)).status, 404);
console.log("deleted");

// The disk: room, shards, segments with bars that say how full they are; older ones on request.
await page.keyboard.press("Escape");
await page.keyboard.press("5");
await says("main", "free of");
const { segments, disk } = await page.evaluate(() => fetch("api/storage?limit=1000").then((answer) => answer.json()));
const files = await page.$$eval("[aria-label=Segments] tbody tr", (rows) => rows.map((row) => row.cells[0].textContent));
assert.deepEqual(
  files,
  segments.map(({ file }) => file),
);
const full = await page.$$eval("[aria-label=Segments] [role=meter]", (bars) =>
  bars.map((bar) => Number(bar.ariaValueNow)),
);
assert.deepEqual(
  full,
  segments.map(({ bytes_used, bytes_capacity }) => Math.round((bytes_used / bytes_capacity) * 100)),
);
assert.ok(disk.bytes_free > 0 && disk.bytes_free <= disk.bytes_size);
await page.$eval(".page", (scrolled) => (scrolled.scrollTop = scrolled.scrollHeight));
await judge("disk");
console.log("looked at the disk");

assert.deepEqual(complaints, []);
console.log("all steps done");
await browser.close();
process.exit(0);
