// A running answer: chunks of the AI SDK put together as the parts of the message that it will be.

/** What has been said by one agent of one run. */
export class Answer {
  parts = [];
  isOver = false;
  #open = new Map();

  constructor(agent) {
    this.agent = agent;
  }

  /** Takes a chunk in. Gives the part that it changed, if it changed one. */
  take(chunk) {
    const { type = "" } = chunk;
    const [kind, step] = type.match(/^(text|reasoning)-(start|delta|end)$/)?.slice(1) ?? [];
    if (kind) return this.#say(kind, step, chunk);
    if (type.startsWith("tool-")) return this.#call(type.slice(5), chunk);
    if (type === "finish" || type === "abort") this.isOver = true;
    else if (type === "error") return this.#add({ type: "error", errorText: chunk.errorText ?? "error" });
    else if (type === "file" || type.startsWith("source-") || type.startsWith("data-")) return this.#add({ ...chunk });
    return undefined;
  }

  #say(kind, step, { id, delta }) {
    const key = `${kind}:${id}`;
    if (step === "end") {
      this.#open.delete(key);
      return undefined;
    }
    const part = this.#open.get(key) ?? this.#add({ type: kind, text: "" }, key);
    if (typeof delta === "string") part.text += delta;
    return part;
  }

  #call(step, chunk) {
    const key = `tool:${chunk.toolCallId}`;
    const part =
      this.#open.get(key) ?? this.#add({ type: `tool-${chunk.toolName ?? "call"}`, state: "input-streaming" }, key);
    if (step === "input-delta") part.inputText = (part.inputText ?? "") + (chunk.inputTextDelta ?? "");
    else if (step === "input-available") Object.assign(part, { state: step, input: chunk.input });
    else if (step === "output-available") Object.assign(part, { state: step, output: chunk.output });
    else if (step.endsWith("-error")) Object.assign(part, { state: "output-error", errorText: chunk.errorText });
    return part;
  }

  #add(part, key) {
    this.parts.push(part);
    if (key) this.#open.set(key, part);
    return part;
  }
}

/** The parts of a message, whoever wrote it: text, or what there is as JSON. */
export function partsOf({ content }) {
  if (Array.isArray(content?.parts)) return content.parts.filter(({ type }) => type !== "step-start");
  if (typeof content?.text === "string") return [{ type: "text", text: content.text }];
  return [{ type: "json", value: content }];
}
