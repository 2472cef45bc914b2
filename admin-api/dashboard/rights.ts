/**
 * What a person is offered to do. The daemon decides each request by itself; this only keeps the page from offering what
 * would be refused, and says why it does not. Pure.
 */
import { allows } from "../roles.ts";
import type { Caller, Deploy, Service } from "../schemas.ts";

export type Verb =
  | "deploy"
  | "promote"
  | "pause"
  | "continue"
  | "abort"
  | "rollback"
  | "restart"
  | "hold"
  | "resume"
  | "scale"
  | "end";

/** Why a caller may change nothing of a service, as a sentence; null: it may. */
export function withheld({ name, role, services }: Caller, service: string): string | null {
  if (!allows(role, "deploy")) {
    return name === "anonymous"
      ? "You may look. To change something, sign in with a token whose role is deploy."
      : `You may look: ${name} has the role ${role}, and changes need deploy.`;
  }
  if (services === null || services.includes(service)) return null;
  return `You may look: ${name} may change ${services.join(", ")} only.`;
}

const UNDERWAY: readonly Deploy["phase"][] = ["starting", "verifying", "shifting", "baking"];

/** What may be asked of a deploy that is under way, the likeliest first. */
export function deployVerbs({ phase, paused }: Deploy): readonly Verb[] {
  if (!UNDERWAY.includes(phase)) return [];
  const hold: Verb = paused ? "continue" : "pause";
  if (phase === "baking") return ["promote", hold, "rollback"];
  return phase === "shifting" ? ["promote", hold, "abort"] : [hold, "abort"];
}

/** What may be asked of a service while no deploy is under way. */
export function serviceVerbs({ deploy, held, current, leaving }: Service): readonly Verb[] {
  if (deploy !== null || leaving === true) return [];
  if (held !== null) return ["resume"];
  return current === null ? ["deploy"] : ["deploy", "rollback", "restart", "scale", "hold"];
}
