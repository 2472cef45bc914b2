import type { FastifyInstance } from "fastify";

import { isChange } from "../gate.ts";
import { Status } from "../schemas.ts";
import { STATUS_TYPE } from "../status-text.ts";
import type { RouteContext } from "./context.ts";

export function statusRoutes(app: FastifyInstance, { status }: RouteContext): void {
  app.addHook("onSend", (request, _reply, payload, done) => {
    if (isChange(request)) status.forget();
    done(null, payload);
  });
  app.get(
    "/v1/status",
    {
      config: {
        operation: { id: "getStatus", summary: "The daemon, its listeners and its services.", tag: "daemon" },
      },
      schema: { response: { 200: Status } },
    },
    (_request, reply) => reply.type(STATUS_TYPE).send(status.now()),
  );
}
