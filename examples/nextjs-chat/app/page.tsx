import { connection } from "next/server";
import { Chat } from "./chat";

/** Reads the environment at each request, so that what was built once runs anywhere. */
export default async function Page() {
  await connection();
  const { FLEETLM_URL = "http://localhost:4000", AGENT_ID = "nextjs-chat", CHAT_USER_ID = "alice" } = process.env;
  return <Chat url={FLEETLM_URL} agentId={AGENT_ID} userId={CHAT_USER_ID} />;
}
