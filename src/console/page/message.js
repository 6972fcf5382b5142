// How a message and a running answer look. Everything that somebody wrote goes through text nodes.

import { partsOf } from "./answer.js";
import { nameOf } from "./directory.js";
import { el, write } from "./dom.js";
import { duration, momentOf, timeOf } from "./words.js";

/** A stored message. `previous` tells whether its head can be left out. */
export function messageRow(message, previous, user) {
  const { seq, sender_id, kind, metadata, inserted_at } = message;
  const goesOn =
    previous && previous.sender_id === sender_id && new Date(inserted_at) - new Date(previous.inserted_at) < 120_000;
  const body = el(
    "div",
    { class: "body" },
    partsOf(message).map((part) => drawn(part).element),
  );
  const row = el(
    "article",
    { class: "message", "data-seq": seq, "data-own": String(sender_id === user) },
    seqOf(seq),
    el("div", {}, goesOn ? null : head(message, user), body),
  );
  if (kind !== "text" && kind !== "assistant") row.querySelector(".body").prepend(el("span", { class: "tag" }, kind));
  const cut = metadata?.termination === "abort" && (metadata.reason ?? "stopped");
  if (cut)
    body.append(
      el(
        "p",
        { class: "cut" },
        `Cut off: ${String(cut).replaceAll("_", " ")}${metadata.recovered ? ", recovered after a crash" : ""}`,
      ),
    );
  return row;
}

const seqOf = (seq) => el("span", { class: "seq", title: `seq ${seq}` }, String(seq));

function head({ sender_id, metadata, inserted_at }, user) {
  const { duration_ms: took, input_tokens: read, output_tokens: said } = metadata ?? {};
  const facts = [
    took !== undefined && duration(took),
    (read || said) && `${read ?? 0} in, ${said ?? 0} out`,
    metadata?.mode,
  ].filter(Boolean);
  return el(
    "header",
    {},
    el("span", { class: "sender" }, sender_id === user ? sender_id : nameOf(sender_id)),
    el("time", { datetime: inserted_at, title: momentOf(inserted_at) }, timeOf(inserted_at)),
    facts.length > 0 && el("span", { class: "facts" }, facts.join(" · ")),
  );
}

/** What was typed and is not stored yet. */
export function unsentRow(item, user, { retry, discard }) {
  const state = item.state === "refused" ? `Not sent: ${item.error}` : "Sending";
  const actions = item.state === "refused" && [
    el("button", { type: "button", class: "quiet", onclick: retry }, "Try again"),
    el("button", { type: "button", class: "quiet", onclick: discard }, "Discard"),
  ];
  const head = el(
    "header",
    {},
    el("span", { class: "sender" }, user),
    el("span", { class: item.state === "refused" ? "bad" : "facts" }, state),
    actions,
  );
  const body = el("div", { class: "body" }, el("p", { class: "text" }, item.text));
  return el(
    "article",
    { class: "message unsent", "data-own": "true" },
    el("span", { class: "seq" }, "…"),
    el("div", {}, head, body),
  );
}

/** An answer that is still being said: rows that grow with its chunks. */
export class AnswerRow {
  #parts = new Map();
  #body = el("div", { class: "body" });
  element;

  constructor(answer) {
    this.answer = answer;
    const head = el(
      "header",
      {},
      el("span", { class: "sender" }, nameOf(answer.agent)),
      el("span", { class: "facts" }, "live"),
    );
    this.element = el(
      "article",
      { class: "message live" },
      el("span", { class: "seq" }, el("span", { class: "pulse" })),
      el("div", {}, head, this.#body),
    );
    for (const part of answer.parts) this.update(part);
  }

  update(part) {
    if (!part) return;
    const known = this.#parts.get(part);
    if (known) return known.update();
    const fresh = drawn(part);
    this.#parts.set(part, fresh);
    this.#body.append(fresh.element);
  }
}

/** A part as an element, and how to draw it again. */
function drawn(part) {
  const { type = "" } = part;
  if (type === "text") return textual(part, el("p", { class: "text" }));
  if (type === "reasoning") {
    const text = el("p", { class: "text" });
    return {
      ...textual(part, text),
      element: el("details", { class: "reasoning" }, el("summary", {}, "Reasoning"), text),
    };
  }
  if (type.startsWith("tool-") || type === "dynamic-tool") return tool(part);
  if (type === "error") return fixed(el("p", { class: "notice bad" }, part.errorText));
  if (type === "json") return fixed(el("pre", { tabIndex: 0 }, pretty(part.value)));
  if (type === "file") return fixed(el("p", { class: "tag" }, `file ${part.filename ?? ""} ${part.mediaType ?? ""}`));
  return fixed(el("details", {}, el("summary", {}, type), el("pre", { tabIndex: 0 }, pretty(part))));
}

/** Text that only grows is appended to, so a long answer costs what its last chunk costs. */
function textual(part, element) {
  const node = document.createTextNode(part.text);
  element.append(node);
  return { element, update: () => part.text.length > node.length && node.appendData(part.text.slice(node.length)) };
}

function tool(part) {
  const name = part.toolName ?? part.type.slice(5);
  const [state, input, output] = [el("span", { class: "tag" }), el("pre", { tabIndex: 0 }), el("pre", { tabIndex: 0 })];
  const element = el("details", { class: "tool" }, el("summary", {}, el("code", {}, name), state), input, output);
  const update = () => {
    write(state, part.errorText !== undefined ? "failed" : part.output !== undefined ? "done" : "running");
    write(input, part.input !== undefined ? pretty(part.input) : (part.inputText ?? ""));
    write(output, part.errorText ?? (part.output !== undefined ? pretty(part.output) : ""));
    [input.hidden, output.hidden] = [!input.textContent, !output.textContent];
  };
  update();
  return { element, update };
}

const fixed = (element) => ({ element, update() {} });
const pretty = (value) => JSON.stringify(value, null, 2) ?? String(value);
