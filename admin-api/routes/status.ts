import type { FastifyInstance } from "fastify";

import { Status } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

export function statusRoutes(app: FastifyInstance, { operations }: RouteContext): void {
  app.get(
    "/v1/status",
    {
      config: {
        operation: { id: "getStatus", summary: "The daemon, its listeners and its services.", tag: "daemon" },
      },
      schema: { response: { 200: Status } },
    },
    () => operations.status(),
  );
}
