import type { FastifyInstance } from "fastify";

import { NoBody } from "../request-schemas.ts";
import { Reload } from "../schemas.ts";
import { type RouteContext, once } from "./context.ts";

const REFUSALS = [
  "CONFIG_INVALID",
  "CONFIG_UNREADABLE",
  "TOKENS_INVALID",
  "TOKENS_UNREADABLE",
  "TLS_UNUSABLE",
  "LISTENER_ADDRESS_IN_USE",
  "LISTENER_CANNOT_OPEN",
  "LISTENER_FOREIGN_MEMBER",
  "RELOAD_REFUSED",
  "RELOAD_IN_PROGRESS",
  "RELOAD_WITHOUT_FILE",
  "UPGRADE_IN_PROGRESS",
  "DIRECTORY_UNUSABLE",
  "DAEMON_STOPPING",
] as const;

export function reloadRoutes(app: FastifyInstance, context: RouteContext): void {
  app.post(
    "/v1/reload",
    {
      config: {
        role: "admin",
        operation: {
          id: "reload",
          summary: "Reads the configuration again and makes what runs follow it, or changes nothing.",
          tag: "daemon",
          refusals: REFUSALS,
        },
      },
      schema: { body: NoBody, response: { 200: Reload } },
    },
    (request) => once(context, request, (caller) => context.operations.reload(caller.name)),
  );
}
