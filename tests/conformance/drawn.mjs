// Diagrams in Mermaid's language, and pictures in SVG, rendered by a browser: each becomes a picture that can be read.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const { CHROMIUM, DIAGRAMS, PICTURES } = process.env;
const browser = await puppeteer.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"],
});
const page = await browser.newPage();
const [entry] = [createRequire(import.meta.url).resolve("mermaid")];
await page.addScriptTag({ path: entry.replace(/[^/]*$/, "mermaid.min.js") });

const draw = (text) =>
  page.evaluate(async (text) => {
    globalThis.mermaid.initialize({ startOnLoad: false, securityLevel: "strict" });
    const { svg } = await globalThis.mermaid.render("drawing", text);
    return svg;
  }, text);

await assert.rejects(draw("sequenceDiagram\n  A->>B nothing"), "a diagram that is none is found");
for (const diagram of JSON.parse(DIAGRAMS)) {
  const svg = await draw(diagram);
  assert.ok(svg.length > 1000 && !svg.includes("Syntax error"), diagram);
}

for (const { name, text } of JSON.parse(PICTURES)) {
  const found = await page.evaluate((text) => {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
    const texts = (tag) => [...parsed.getElementsByTagName(tag)].map(({ textContent }) => textContent);
    const attributes = [...parsed.querySelectorAll("*")].flatMap((element) => [...element.attributes]);
    document.body.innerHTML = text;
    const { width } = document.querySelector("body > svg").viewBox.baseVal;
    // What stands outside of the picture or of its box would be cut off.
    const out = [...document.querySelectorAll("body > svg text")].filter((element) => {
      const box = element.getBBox();
      return box.x < 0 || box.x + box.width > width;
    });
    return {
      error: parsed.querySelector("parsererror")?.textContent,
      title: texts("title"),
      desc: texts("desc"),
      links: attributes.filter(({ name, value }) => /href|src/.test(name) || /url\((?!#)/.test(value)).length,
      out: out.map(({ textContent }) => textContent),
    };
  }, text);
  assert.equal(found.error, undefined, name);
  assert.ok(found.title.length === 1 && found.title[0].length > 5 && found.desc[0]?.length > 40, `${name} says what it shows`);
  assert.equal(found.links, 0, `${name} needs nothing from elsewhere`);
  assert.deepEqual(found.out, [], `${name}: these texts leave the picture`);
}
await browser.close();
console.log("all steps done");
