/** `@fleetlm/client/react`: a session in a component. React is the application's own. */

import { useEffect, useMemo, useSyncExternalStore } from "react";
import { FleetLMClient } from "./client.js";
import type { ClientOptions } from "./options.js";
import { SessionStore, type Snapshot } from "./store.js";

export type { Snapshot, ViewedMessage } from "./store.js";

export interface SessionView extends Snapshot {
  /** Shows a text or message at once and sends it. */
  send: SessionStore["send"];
  /** Takes a failed message off the view. */
  dismiss: SessionStore["dismiss"];
  /** Reads the page before the first message. */
  loadOlder: SessionStore["loadOlder"];
  /** Ends the answer that is under way. */
  stop: () => Promise<void>;
  /** For everything else. */
  client: FleetLMClient;
}

/**
 * Connects while the component is there. Given options, it makes a client of its own, another one when the user, agent,
 * session or URL changes; what else the options say is read when it is made. Given a client, it connects that one.
 */
export function useFleetLM(source: ClientOptions | FleetLMClient): SessionView {
  const identity =
    source instanceof FleetLMClient ? source : [source.userId, source.agentId, source.sessionId, source.url].join("\n");
  const store = useMemo(() => {
    return new SessionStore(source instanceof FleetLMClient ? source : new FleetLMClient(source));
    // eslint-disable-next-line react-hooks/exhaustive-deps -- options are written anew at each render
  }, [identity]);
  useEffect(() => {
    void store.connect();
    return () => store.client.disconnect();
  }, [store]);
  const snapshot = useSyncExternalStore(store.subscribe, store.snapshot, store.snapshot);
  return useMemo(() => {
    const { client, send, dismiss, loadOlder } = store;
    return { ...snapshot, send, dismiss, loadOlder, stop: () => client.stop(), client };
  }, [store, snapshot]);
}
