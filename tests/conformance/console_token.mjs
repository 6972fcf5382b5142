// The console of a server that wants tokens: it asks for one, keeps it in this tab alone, and then does what it does elsewhere.

import assert from "node:assert/strict";
import puppeteer from "puppeteer-core";

const { URL_BASE, CHROMIUM, SHOTS, TOKEN, OTHER } = process.env;
const PATIENCE = { timeout: 30_000, polling: 50 };
const browser = await puppeteer.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"],
});
process.on("unhandledRejection", failed);
process.on("uncaughtException", failed);

function failed(error) {
  console.log("FAILED", error);
  process.exit(1);
}

const page = await browser.newPage();
await page.goto(`${URL_BASE}/`);
await page.waitForSelector("dialog[open] #sign-in-token", PATIENCE);
await page.screenshot({ path: `${SHOTS}/token.png` });
assert.match(await page.$eval("dialog", ({ innerText }) => innerText), /wants an API key or a token/);

async function give(token) {
  await page.waitForFunction(() => document.activeElement?.id === "sign-in-token", PATIENCE);
  await page.keyboard.down("Control");
  await page.keyboard.press("a");
  await page.keyboard.up("Control");
  await page.keyboard.type(token);
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
}

await give("flk_nothing_good");
await page.waitForSelector("dialog[open] .notice", PATIENCE);
await give(TOKEN);
await page.waitForFunction(() => document.activeElement?.matches("textarea"), PATIENCE);
await page.keyboard.type("Let in");
await page.keyboard.press("Enter");
await page.waitForSelector('.message[data-seq="2"]', PATIENCE);
assert.equal(await page.$eval('.message[data-seq="2"] .text', ({ textContent }) => textContent), "Let in");
const kept = await page.evaluate(() => ({ ...localStorage }));
assert.ok(!JSON.stringify(kept).includes(TOKEN), "the token is not kept beyond the tab");
assert.ok(!page.url().includes(TOKEN), "nor shown in the address");

// Who may not see the server is told so, and shown nothing of its disk.
await page.goto(`${URL_BASE}/#/storage`);
await page.waitForFunction(() => document.querySelector("main").textContent.includes("free of"), PATIENCE);
await page.click(".side .user");
await page.waitForSelector("dialog[open] #sign-in-token", PATIENCE);
await page.focus("#sign-in-token");
await give(OTHER);
await page.waitForFunction(() => document.activeElement?.matches("textarea"), PATIENCE);
await page.goto(`${URL_BASE}/#/storage`);
const shown = "section[aria-label=Disk]";
await page.waitForFunction(
  (shown) => document.querySelector(shown)?.innerText.includes("may not see the disk"),
  PATIENCE,
  shown,
);
assert.ok(!(await page.$eval(shown, ({ innerText }) => innerText)).includes("free of"));

console.log("all steps done");
await browser.close();
process.exit(0);
