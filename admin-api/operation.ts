/** What a route says of itself besides its schemas. From this come its documentation and its access. */
import type { Role } from "./roles.ts";

export interface Operation {
  /** Unique, as a function's name: clients are generated from it. */
  readonly id: string;
  /** One sentence. */
  readonly summary: string;
  readonly tag: "daemon" | "listeners" | "services" | "deploys" | "events";
  /** Codes of problem.ts that this operation can answer, besides those that many can: see openapi.ts. */
  readonly refusals?: readonly string[];
  /** The media type of a success, where it is not JSON. */
  readonly produces?:
    "text/event-stream" | "text/plain" | "text/html" | "text/javascript" | "text/css" | "image/svg+xml";
  /** Headers of a success. */
  readonly headers?: Readonly<Record<string, string>>;
  /** It takes If-Match. */
  readonly takesIfMatch?: true;
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** Who may: a role, or anyone. Left out: to look is `read`, and everything else is `admin`. */
    role?: Role | "anyone";
    operation?: Operation;
  }
}

/** Of an operation that answers with the deploy that it has begun. */
export const BEGINS = {
  headers: { Location: "The deploy that has begun, as /v1/deploys/api-4" },
  takesIfMatch: true,
} as const;

/** What may keep a deploy from beginning. */
export const NO_BEGINNING = [
  "DEPLOY_IN_PROGRESS",
  "SERVICE_HELD",
  "VERSION_MISSING",
  "VERSION_INVALID",
  "DIRECTORY_MISSING",
  "STRATEGY_NEEDS_STEERING",
  "DAEMON_STOPPING",
] as const;

/** What may keep a wish from being heard. */
export const NOT_HEARD = ["DEPLOY_ALREADY_ENDED", "DEPLOY_TOO_LATE", "DEPLOY_ROLLING_BACK"] as const;
