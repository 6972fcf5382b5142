/** The agent: FleetLM posts the conversation here and shows everybody what comes back, chunk by chunk. */

import { convertToModelMessages, streamText, type UIMessage } from "ai";
import { toUIMessages } from "@fleetlm/client/ai";
import { model } from "../../lib/model";
import { isSigned } from "../../lib/signature";

/** A message as FleetLM posts it. */
interface Posted {
  seq: number;
  kind: string;
  content: Record<string, unknown>;
}

export async function POST(request: Request): Promise<Response> {
  const body = await request.text();
  const secret = process.env.WEBHOOK_SECRET;
  if (secret && !isSigned(request.headers, body, secret)) {
    return Response.json({ error: "the signature is missing, wrong or old" }, { status: 401 });
  }
  const messages = messagesOf(body);
  if (!messages) return Response.json({ error: "expected {\"messages\": [..]}" }, { status: 400 });
  const answer = streamText({
    model: model(),
    system: "You are a friendly assistant. Answer briefly.",
    messages: await convertToModelMessages(messages),
    // Who stops the run closes the connection.
    abortSignal: request.signal,
  });
  return answer.toUIMessageStreamResponse();
}

function messagesOf(body: string): UIMessage[] | undefined {
  try {
    const { messages } = JSON.parse(body) as { messages: Posted[] };
    const stored = messages.map((message) => ({ ...message, ...unused(message) }));
    // An answer that was cut off before its first word says nothing to a model.
    return toUIMessages(stored).filter(({ parts }) => parts.length > 0);
  } catch {
    return undefined;
  }
}

/** What the client's messages have besides, and a model is not told. */
function unused({ seq }: Posted) {
  return { id: String(seq), sessionId: "", senderId: "", metadata: {}, insertedAt: "" };
}
