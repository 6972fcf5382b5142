// The agents that can be talked to: the registered ones, and the one that is built in.

import { get } from "./api.js";

export const ECHO = { id: "echo", name: "Echo", origin_url: "builtin:echo", status: "enabled", isBuiltIn: true };

let agents = [ECHO];

/** Asks for them anew. */
export async function readAgents() {
  const answer = await get("api/agents");
  const registered = answer.agents;
  agents = registered.some(({ id }) => id === ECHO.id) ? registered : [ECHO, ...registered];
  return agents;
}

export const knownAgents = () => agents;
export const agentOf = (id) => agents.find((agent) => agent.id === id);
export const nameOf = (id) => agentOf(id)?.name ?? id;

/** What kind of thing answers. */
export function kindOf(agent) {
  if (agent.team) return "team";
  return agent.origin_url?.startsWith("builtin:") ? "built-in" : "webhook";
}
