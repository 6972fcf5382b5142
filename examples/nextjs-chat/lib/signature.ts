/** Whether a call of the webhook is FleetLM's: see docs/webhooks.md, "What it is sent". */

import { createHmac, timingSafeEqual } from "node:crypto";

/** Older and newer calls are refused, so that one that was overheard cannot be repeated for long. */
const AGE_S_MAX = 300;

/** `v1=` and the hexadecimal HMAC-SHA256 of the timestamp, a full stop and the body. */
export function isSigned(headers: Headers, body: string, secret: string, now_s = Date.now() / 1000): boolean {
  const timestamp = headers.get("x-fleetlm-timestamp") ?? "";
  const isRecent = /^\d+$/.test(timestamp) && Math.abs(now_s - Number(timestamp)) <= AGE_S_MAX;
  const expected = Buffer.from(`v1=${createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex")}`);
  const given = Buffer.from(headers.get("x-fleetlm-signature") ?? "");
  return isRecent && given.length === expected.length && timingSafeEqual(given, expected);
}
