/** How long to wait before the next attempt. */

/** Short at first, for most connections come back at once; then no server is helped by asking more often. */
const STEPS_MS = [100, 250, 500, 1_000, 2_000, 5_000, 10_000] as const;

/**
 * Milliseconds before attempt `attempt` (from 1). Half of it is chance, so that clients of one server do not come back
 * in step.
 */
export function backoffMs(attempt: number, chance: () => number = Math.random): number {
  const step = STEPS_MS[Math.min(Math.max(attempt, 1), STEPS_MS.length) - 1] ?? STEPS_MS[0];
  return Math.round(step / 2 + (step / 2) * chance());
}
