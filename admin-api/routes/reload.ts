import type { FastifyInstance } from "fastify";

import { NoBody, Reload } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

export function reloadRoutes(app: FastifyInstance, { operations, callerOf }: RouteContext): void {
  app.post("/v1/reload", { schema: { body: NoBody, response: { 200: Reload } } }, (request) =>
    operations.reload(callerOf(request).name),
  );
}
