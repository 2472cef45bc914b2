import type { FastifyInstance } from "fastify";

import { Caller } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

/** A page or a tool asks before it offers what would be refused. The decision stays with each request. */
export function callerRoutes(app: FastifyInstance, { callerOf }: RouteContext): void {
  app.get(
    "/v1/caller",
    {
      config: {
        operation: { id: "getCaller", summary: "Who asks, and what they may do.", tag: "daemon" },
      },
      schema: { response: { 200: Caller } },
    },
    (request): Caller => {
      const { name, role, services } = callerOf(request);
      if (role === null) throw new Error("a caller without a role was let in");
      return { name, role, services: services === null ? null : [...services] };
    },
  );
}
