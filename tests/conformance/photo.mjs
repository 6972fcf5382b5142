// The console with an answer under way, photographed in light and in dark.

import puppeteer from "puppeteer-core";

const { URL_BASE, CHROMIUM, SHOTS, SESSION } = process.env;
const PATIENCE = { timeout: 30_000, polling: 50 };
const browser = await puppeteer.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server", "--hide-scrollbars"],
  defaultViewport: { width: 1280, height: 760 },
});
const page = await browser.newPage();
for (const theme of ["light", "dark"]) {
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
  await page.goto(`${URL_BASE}/#/chat/${SESSION}`);
  await page.waitForFunction(
    () => ["02:14", "primary while lag", "more than half of what"].every((text) => document.body.innerText.includes(text)),
    PATIENCE,
  );
  await page.screenshot({ path: `${SHOTS}/console-${theme}.png` });
}
await browser.close();
console.log("all steps done");
