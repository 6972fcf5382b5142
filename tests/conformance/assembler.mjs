// Runs sequences of chunks through the AI SDK's own reducer (`reducer.mjs`) and prints them with the parts it made, as assembler.json keeps them.
// The assembler's unit tests hold ours against it; `assembler.rs` holds the file against the pinned release of the SDK.
//
//   FLEETLM_ASSEMBLER_WRITE=1 cargo test --test conformance assembler
//
// `differs` names what we do otherwise on purpose; its parts are then ours, and `theirs` is what the reducer made.

import { reduced, version } from "./reducer.mjs";

const text = (id, ...deltas) => [
  { type: "text-start", id },
  ...deltas.map((delta) => ({ type: "text-delta", id, delta })),
  { type: "text-end", id },
];
const call = (toolCallId, input, more = {}) => ({ type: "tool-input-available", toolCallId, toolName: "weather", input, ...more });
const begin = (toolCallId, more = {}) => ({ type: "tool-input-start", toolCallId, toolName: "weather", ...more });
const delta = (toolCallId, inputTextDelta) => ({ type: "tool-input-delta", toolCallId, inputTextDelta });
const output = (toolCallId, output, more = {}) => ({ type: "tool-output-available", toolCallId, output, ...more });
const failure = (toolCallId, errorText, more = {}) => ({ type: "tool-output-error", toolCallId, errorText, ...more });
const step = { type: "start-step" };
const metadata = (value) => ({ type: "message-metadata", messageMetadata: value });

const cases = {
  "a text": [{ type: "start", messageId: "m1" }, ...text("1", "Hel", "lo")],
  "an empty text": text("1"),
  "data before the start": [{ type: "data-x", id: "1", data: 1 }, { type: "start", messageId: "m1" }, ...text("1", "x")],
  "steps, text with provider metadata": [
    step,
    { type: "text-start", id: "t", providerMetadata: { p: { a: 1 } } },
    { type: "text-delta", id: "t", delta: "a" },
    { type: "text-delta", id: "t", delta: "b", providerMetadata: { p: { b: null } } },
    { type: "text-end", id: "t" },
    { type: "finish-step" },
    step,
    ...text("t", "again"),
  ],
  "text and reasoning with one id": [
    { type: "reasoning-start", id: "1" },
    { type: "text-start", id: "1" },
    { type: "reasoning-delta", id: "1", delta: "think" },
    { type: "text-delta", id: "1", delta: "say" },
    { type: "reasoning-end", id: "1", providerMetadata: { p: { signature: "s" } } },
    { type: "text-end", id: "1" },
  ],
  "texts that alternate": [
    { type: "text-start", id: "a" },
    { type: "text-start", id: "b" },
    { type: "text-delta", id: "a", delta: "1" },
    { type: "text-delta", id: "b", delta: "2" },
    { type: "text-delta", id: "a", delta: "3" },
    { type: "text-end", id: "a" },
    { type: "text-end", id: "b" },
  ],
  "escapes and a pair of surrogates in two deltas": text("1", "a\n\"\\\u0001", "\ud83d", "\ude00 \u2028"),
  "a call with deltas": [
    begin("c", { title: "Weather", providerMetadata: { p: { n: 1 } } }),
    delta("c", '{"city":'),
    delta("c", ' "Par'),
    call("c", { city: "Paris", unit: null, n: 12345678901234567890 }),
    output("c", { celsius: 21.5, list: [null, { a: null }] }),
  ],
  "a call without an output": [begin("c"), call("c", null)],
  "input that is still coming": [begin("c"), delta("c", '{"city":"Par'), delta("c", 'is","days":[1,2')],
  "input that ends within a key": [begin("c"), delta("c", '{"a":1.50,"b')],
  "input that ends within a literal": [begin("c"), delta("c", '{"a":nul')],
  "input that ends within an escape": [begin("c"), delta("c", '{"a":"x\\u00e')],
  "input that ends behind a whole value": [begin("c"), delta("c", '{"a":true}')],
  "input that shows nothing yet": [begin("c"), delta("c", "-")],
  "input that is no JSON": [begin("c"), delta("c", "hello")],
  "input that is text": [begin("c", { inputEncoding: "text" }), delta("c", 'a "b'), delta("c", "\n{")],
  "input with half a pair of surrogates": [begin("c"), delta("c", '{"a":"\ud83d')],
  "an output while the input is coming": [begin("c"), delta("c", '{"city":"Par'), output("c", 1)],
  "an error while the input is coming": [begin("c"), delta("c", '{"city":"Par'), failure("c", "no")],
  "an error while a dynamic input is coming": [begin("c", { dynamic: true }), delta("c", '{"city":"Par'), failure("c", "no")],
  "input begun anew": [begin("c"), delta("c", '{"a":1'), begin("c", { toolName: "other" }), delta("c", "[2")],
  "a dynamic call": [
    begin("d", { dynamic: true, title: "T", toolMetadata: { k: 1 } }),
    delta("d", '{"x"'),
    call("d", { x: 1 }, { dynamic: true }),
    output("d", "out", { providerExecuted: true, toolMetadata: { k: 2 } }),
  ],
  "preliminary outputs": [call("c", {}), output("c", 1, { preliminary: true }), output("c", 2)],
  "a failed call keeps its input": [call("c", { a: 1 }, { providerExecuted: true }), failure("c", "no", { providerMetadata: { p: { x: 1 } } })],
  "an output behind an error": [call("c", { a: 1 }), failure("c", "no"), output("c", "yes")],
  "refused input of a static call": [
    begin("c", { title: "T" }),
    { type: "tool-input-error", toolCallId: "c", toolName: "weather", input: { bad: 1 }, errorText: "no" },
  ],
  "refused input, then an error": [
    { type: "tool-input-error", toolCallId: "c", toolName: "weather", input: "bad", errorText: "no" },
    failure("c", "again"),
  ],
  "refused input, then an output": [
    { type: "tool-input-error", toolCallId: "c", toolName: "weather", input: "bad", errorText: "no" },
    output("c", 1),
  ],
  "refused input of a dynamic call": [
    begin("c", { dynamic: true }),
    { type: "tool-input-error", toolCallId: "c", toolName: "weather", input: { bad: 1 }, errorText: "no" },
    failure("c", "again"),
  ],
  "refused input without a start": [
    { type: "tool-input-error", toolCallId: "c", toolName: "weather", input: 1, errorText: "no", dynamic: true, title: "lost" },
  ],
  "an approval that is denied": [
    call("c", { a: 1 }),
    { type: "tool-approval-request", toolCallId: "c", approvalId: "ap" },
    { type: "tool-output-denied", toolCallId: "c" },
  ],
  "an approval with all its fields": [
    call("c", { a: 1 }),
    { type: "tool-approval-request", toolCallId: "c", approvalId: "ap", approvalDescriptor: { d: 1 }, inputSchemaInput: null, signature: "s" },
  ],
  "a call id used again in another step": [
    step,
    call("c", 1),
    output("c", "one"),
    step,
    call("c", 2),
    output("c", "two"),
    step,
    output("c", "three"),
  ],
  "static and dynamic calls of one id": [call("c", 1), call("c", 2, { dynamic: true }), output("c", 3)],
  "a call under another name": [begin("c"), call("c", 1, { toolName: "a-b" }), output("c", 1)],
  "data": [
    { type: "data-x", id: "1", data: { a: 1 } },
    { type: "data-x", id: "1", data: { b: null }, extra: 2 },
    { type: "data-y", id: "1", data: 1, extra: 1 },
    { type: "data-x", data: 1 },
    { type: "data-x", data: 2 },
    { type: "data-x", id: "2", data: 3, transient: true },
    { type: "data-x", id: "3", data: 3, transient: false },
  ],
  "files and sources": [
    { type: "file", url: "data:text/plain;base64,aGk=", mediaType: "text/plain", filename: "lost.txt" },
    { type: "source-url", sourceId: "s", url: "https://example.org", title: "T", providerMetadata: { p: { a: 1 } } },
    { type: "source-url", sourceId: "s", url: "https://example.org" },
    { type: "source-document", sourceId: "d", mediaType: "text/plain", title: "D", filename: "d.txt" },
  ],
  "metadata": [
    { type: "start", messageId: "m", messageMetadata: { a: { x: 1 }, b: [1] } },
    metadata({ a: { y: null }, b: [2] }),
    metadata(null),
    metadata({ a: { x: { z: 1 } }, c: 1 }),
    ...text("1", "x"),
    { type: "finish", finishReason: "stop", messageMetadata: { c: { d: 1 } } },
  ],
  "unknown types": [{ type: "customary", x: 1 }, ...text("1", "x"), { type: "tool-something", toolCallId: "c" }],
  "text, a call and data": [...text("1", "x"), call("c", {}), output("c", {}), { type: "data-x", id: "1", data: {} }],
  "an open text is done when the message is": {
    differs: "the reducer leaves it streaming; the contract closes it",
    chunks: [{ type: "text-start", id: "1" }, { type: "text-delta", id: "1", delta: "x" }, { type: "finish" }],
    parts: [{ type: "text", text: "x", state: "done" }],
  },
  "parts that came with release 7": {
    differs: "release 6 of the SDK does not know them",
    chunks: [
      { type: "reasoning-file", mediaType: "image/png", url: "https://example.org/a.png", lost: 1 },
      { type: "custom", kind: "mock.compaction", providerMetadata: { p: { a: null } }, lost: 1 },
      { type: "custom", kind: "mock.other" },
    ],
    parts: [
      { type: "reasoning-file", mediaType: "image/png", url: "https://example.org/a.png" },
      { type: "custom", kind: "mock.compaction", providerMetadata: { p: { a: null } } },
      { type: "custom", kind: "mock.other" },
    ],
  },
  "a delta behind the whole input": {
    differs: "the reducer falls back to a streaming input",
    chunks: [begin("c"), delta("c", "{"), call("c", {}), delta("c", "}")],
    parts: [{ type: "tool-weather", toolCallId: "c", state: "input-available", input: {} }],
  },
  "a delta in the next step": {
    differs: "the reducer begins a second part",
    chunks: [step, begin("c"), delta("c", "[1"), step, delta("c", ",2")],
    parts: [
      { type: "step-start" },
      { type: "tool-weather", toolCallId: "c", state: "input-streaming", input: [1, 2], rawInput: "[1,2" },
      { type: "step-start" },
    ],
  },
};

// Sequences that nobody chose, the same each time, without what we do otherwise on purpose.
function random(seed) {
  const below = (bound) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * bound);
  };
  const pick = (list) => list[below(list.length)];
  const maybe = (more) => (below(3) === 0 ? more : {});
  const value = () => pick([null, 1.5, "s", [], { a: null }, { a: [1, { b: "c" }] }, false]);
  const provided = () => maybe({ providerMetadata: { p: { n: value() } } });
  const titled = () => ({ ...maybe({ title: pick(["T", "U"]) }), ...maybe({ toolMetadata: { k: value() } }) });
  const executed = () => maybe({ providerExecuted: below(2) === 0 });
  const texts = { text: new Set(), reasoning: new Set() };
  // The calls that exist, and what is left of the inputs that stream in this step.
  const [known, streaming] = [new Set(), new Map()];
  const inputs = ['{"k": [1, -2.5125e2, {"l":null}], "m\\\\": "x\\"\\u00e9\\n"}', '[true,false , [], {}, "é\ud83d\ude00\\u0041"]', ' "s\\/"', "12.5"];
  const chunks = [];
  const closed = () => {
    for (const [kind, open] of Object.entries(texts)) {
      open.forEach((id) => chunks.push({ type: `${kind}-end`, id }));
      open.clear();
    }
  };
  const steps = {
    text: () => {
      const kind = pick(["text", "reasoning"]);
      const id = pick(["1", "2"]);
      const open = texts[kind];
      if (!open.has(id)) {
        open.add(id);
        return { type: `${kind}-start`, id, ...provided() };
      }
      if (below(4) > 0) return { type: `${kind}-delta`, id, delta: pick(["", "a ", "\n", "\"é\ud83d\ude00"]), ...provided() };
      open.delete(id);
      return { type: `${kind}-end`, id, ...provided() };
    },
    step: () => {
      closed();
      streaming.clear();
      if (below(2) === 0) chunks.push({ type: "finish-step" });
      return step;
    },
    begin: () => {
      const id = pick(["c", "d"]);
      known.add(id);
      streaming.set(id, pick(inputs));
      const more = { ...titled(), ...executed(), ...provided(), ...maybe({ dynamic: true }), ...maybe({ inputEncoding: pick(["text", "json"]) }) };
      return { ...begin(id, more), toolName: pick(["weather", "a-b"]) };
    },
    delta: () => {
      const id = pick(["c", "d"]);
      if (!streaming.has(id)) return undefined;
      const [rest, length] = [streaming.get(id), 1 + below(14)];
      streaming.set(id, rest.slice(length));
      return delta(id, rest.slice(0, length));
    },
    input: () => {
      const id = pick(["c", "d"]);
      known.add(id);
      streaming.delete(id);
      return call(id, value(), { ...titled(), ...executed(), ...provided(), ...maybe({ dynamic: true }) });
    },
    refusal: () => {
      const toolCallId = pick(["c", "d"]);
      known.add(toolCallId);
      streaming.delete(toolCallId);
      return { type: "tool-input-error", toolCallId, toolName: "weather", input: value(), errorText: "no", ...provided(), ...maybe({ dynamic: true }) };
    },
    result: () => {
      const id = pick(["c", "d"]);
      if (!known.has(id)) return undefined;
      streaming.delete(id);
      const more = { ...provided(), ...executed(), ...maybe({ toolMetadata: { r: 1 } }) };
      return pick([
        () => output(id, value(), { ...more, ...maybe({ preliminary: true }) }),
        () => failure(id, "failed", more),
        () => ({ type: "tool-approval-request", toolCallId: id, approvalId: pick(["x", "y"]), ...maybe({ signature: "s" }) }),
        () => ({ type: "tool-output-denied", toolCallId: id }),
      ])();
    },
    data: () => ({ type: pick(["data-x", "data-y"]), data: value(), ...maybe({ id: pick(["1", "2"]) }), ...maybe({ transient: true }) }),
    metadata: () => metadata({ [pick(["a", "b"])]: value() }),
  };
  while (chunks.length < 24) {
    const chunk = pick(Object.values(steps))();
    if (chunk) chunks.push(chunk);
  }
  closed();
  return chunks;
}

for (let seed = 1; seed <= 60; seed++) cases[`random ${seed}`] = random(seed);

const written = [];
for (const [name, given] of Object.entries(cases)) {
  const { chunks, differs, parts } = Array.isArray(given) ? { chunks: given } : given;
  const { id, metadata, parts: theirs } = await reduced(chunks);
  const result = { name, chunks, id, metadata, parts: differs ? parts : theirs };
  written.push(JSON.stringify(differs ? { ...result, theirs, differs } : result));
}
console.log(`{"reducer":"ai ${version}","cases":[\n${written.join(",\n")}\n]}`);
