/**
 * Tells FleetLM where the agent is. May be run as often as you like: an agent that is registered is updated.
 * `.env.local` is read if it is there; what the environment says wins.
 */

import { existsSync } from "node:fs";

if (existsSync(".env.local")) process.loadEnvFile(".env.local");
const { FLEETLM_URL = "http://localhost:4000", FLEETLM_API_KEY, WEBHOOK_SECRET } = process.env;
const { AGENT_ID = "nextjs-chat", APP_URL = "http://localhost:3000" } = process.env;

const agent = {
  id: AGENT_ID,
  name: "Next.js chat",
  origin_url: APP_URL,
  webhook_path: "/webhook",
  status: "enabled",
  debounce_window_ms: 0, // the page sends one message at a time: there is nothing to wait for
  secret: WEBHOOK_SECRET || null,
};

async function ask(method, path) {
  const authorization = FLEETLM_API_KEY ? { authorization: `Bearer ${FLEETLM_API_KEY}` } : {};
  return fetch(new URL(path, FLEETLM_URL), {
    method,
    headers: { "content-type": "application/json", ...authorization },
    body: JSON.stringify({ agent }),
  });
}

const path = `/api/agents/${encodeURIComponent(AGENT_ID)}`;
let did = "updated";
let response = await ask("PUT", path);
if (response.status === 404) {
  did = "registered";
  response = await ask("POST", "/api/agents");
}
if (!response.ok) {
  console.error(`FleetLM at ${FLEETLM_URL} refused the agent: ${response.status} ${await response.text()}`);
  process.exit(1);
}
console.log(`${did} ${AGENT_ID}: ${new URL("/webhook", APP_URL)}${WEBHOOK_SECRET ? ", signed" : ""}`);
