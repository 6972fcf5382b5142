/**
 * `@fleetlm/client/ai`: the AI SDK's `useChat` on a session. The conversation is the server's: what is sent is the
 * user's last message, and the agent is given the rest by the server.
 */

import type { ChatTransport, UIMessage, UIMessageChunk } from "ai";
import { type Asked, answerStream } from "./answer-stream.js";
import { FleetLMClient } from "./client.js";
import { FleetLMError, isObject } from "./errors.js";
import type { ClientOptions } from "./options.js";
import type { Draft, JsonObject, Message } from "./types.js";

/** Milliseconds in which an agent has to begin: its longest debounce, five attempts at calling it, and then some. */
const BEGINS_WITHIN_MS = 60_000;

type SendOptions<UI extends UIMessage> = Parameters<ChatTransport<UI>["sendMessages"]>[0];
type ReconnectOptions<UI extends UIMessage> = Parameters<ChatTransport<UI>["reconnectToStream"]>[0];

export interface TransportOptions<UI extends UIMessage> {
  /** A client, or the options of one that the transport makes. */
  client: FleetLMClient | ClientOptions;
  /** What is stored of the user's message; by default its text, its id, and its parts if there are others than text. */
  draft?: (message: UI, options: SendOptions<UI>) => Draft;
  beginsWithinMs?: number;
}

/** One transport serves one session, whatever the id of the chat. */
export class FleetLMChatTransport<UI extends UIMessage = UIMessage> implements ChatTransport<UI> {
  readonly client: FleetLMClient;
  /** What `reconnectToStream` gives begins with the answer's first chunk. */
  readonly resumeStreamIsReplay = true;
  readonly #options: TransportOptions<UI>;

  constructor(options: TransportOptions<UI>) {
    this.client = options.client instanceof FleetLMClient ? options.client : new FleetLMClient(options.client);
    this.#options = options;
  }

  /**
   * Sends the user's last message and streams the answer to it. To regenerate is to ask again: the message is sent once
   * more, with `regenerates` (the id of the answer, if the caller names one) in its metadata, for a session forgets
   * nothing. To abort is to stop the run, for everybody.
   *
   * @throws FleetLMError of the connection or the send; `Unsupported` when there is no message of the user's at the
   *   end.
   */
  async sendMessages(options: SendOptions<UI>): Promise<ReadableStream<UIMessageChunk>> {
    const { messages, trigger, messageId, abortSignal, metadata } = options;
    const message = messages.at(-1);
    if (message?.role !== "user") {
      throw new FleetLMError(
        "Unsupported",
        "the last message is not the user's: agents of FleetLM run their tools themselves",
      );
    }
    await this.client.connect();
    const draft = (this.#options.draft ?? draftOf)(message, options);
    const again = trigger === "regenerate-message" ? { regenerates: messageId ?? true } : {};
    const told = { ...draft.metadata, ...(isObject(metadata) ? metadata : {}), ...again };
    const otherRun = this.client.run?.runId;
    // The stream listens before the message is sent: the answer may begin before this goes on.
    let asked: (asked: Asked) => void = () => {};
    let refused: (error: unknown) => void = () => {};
    const known = new Promise<Asked>((resolve, reject) => ([asked, refused] = [resolve, reject]));
    const stream = this.#stream(known, abortSignal);
    try {
      const { seq } = await this.client.send({ ...draft, metadata: told });
      asked({ seq, otherRun });
    } catch (error) {
      refused(error);
      throw error;
    }
    return stream;
  }

  /** The answer that is under way, from its first chunk on; null when there is none. */
  async reconnectToStream({ abortSignal }: ReconnectOptions<UI>): Promise<ReadableStream<UIMessageChunk> | null> {
    await this.client.connect();
    const run = this.client.run;
    return run ? this.#stream(Promise.resolve({ runId: run.runId }), abortSignal) : null;
  }

  #stream(asked: Promise<Asked>, signal: AbortSignal | undefined): ReadableStream<UIMessageChunk> {
    const beginsWithinMs = this.#options.beginsWithinMs ?? BEGINS_WITHIN_MS;
    // The server checks that each is an object with a type; the SDK checks the rest.
    return answerStream(this.client, asked, { beginsWithinMs, signal }) as unknown as ReadableStream<UIMessageChunk>;
  }
}

/** Stored messages as `useChat` shows them: for its initial `messages`. */
export function toUIMessages<UI extends UIMessage = UIMessage>(messages: readonly Message[]): UI[] {
  return messages.map(({ id, kind, content, metadata }) => {
    const isAnswer = kind === "assistant" || content["role"] === "assistant";
    const text = {
      type: "text",
      text: typeof content["text"] === "string" ? content["text"] : JSON.stringify(content),
    };
    const parts = Array.isArray(content["parts"]) ? content["parts"] : [text];
    const given = typeof content["id"] === "string" ? content["id"] : id;
    return { id: given, role: isAnswer ? "assistant" : "user", parts, metadata } as unknown as UI;
  });
}

function draftOf({ id, parts }: UIMessage): Draft {
  const isText = (part: { type: string }): part is { type: "text"; text: string } => part.type === "text";
  const text = parts
    .filter(isText)
    .map((part) => part.text)
    .join("");
  const content: JsonObject = { id, text };
  return { kind: "text", content: parts.every(isText) ? content : { ...content, role: "user", parts } };
}
