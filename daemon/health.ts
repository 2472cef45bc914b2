/** Whether the daemon does what it is for: every service has the instances that it needs at least. Pure. */
import type { Health } from "../admin-api/schemas.ts";

export interface ServiceHealth {
  readonly name: string;
  readonly state: "starting" | "running" | "held" | "degraded" | "stopped";
  /** Of the current generation; 0 without one. */
  readonly ready: number;
  /** `deploy.floor`: fewer are a reason, where as many are wanted at all. */
  readonly floor: number;
}

export function healthOf(services: readonly ServiceHealth[], isStopping: boolean): Health {
  const reasons = services.flatMap(({ name, state, ready, floor }) => {
    if (state === "running" || (state === "degraded" && ready >= floor)) return [];
    const count = state === "degraded" ? `: ${ready} instances are ready, ${floor} are its floor` : "";
    return [`service ${name} is ${state}${count}`];
  });
  if (isStopping) reasons.unshift("the daemon is stopping");
  return { ready: reasons.length === 0, reasons };
}
