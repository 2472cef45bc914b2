import type { FastifyInstance } from "fastify";

import { Deploy, HoldRequest, NoBody, Service } from "../schemas.ts";
import { type RouteContext, once } from "./context.ts";

/** A hold lets new connections wait; a resume is a deploy of the same release that takes them. */
export function holdRoutes(app: FastifyInstance, context: RouteContext): void {
  const { operations } = context;

  app.post<{ Params: { service: string }; Body: HoldRequest }>(
    "/v1/services/:service/hold",
    { config: { role: "deploy" }, schema: { body: HoldRequest, response: { 200: Service } } },
    async (request) => {
      const { service } = request.params;
      const { idle } = request.body;
      return once(context, request, (caller) => operations.hold(service, { idles: idle }, caller));
    },
  );

  app.post<{ Params: { service: string } }>(
    "/v1/services/:service/resume",
    { config: { role: "deploy" }, schema: { body: NoBody, response: { 202: Deploy } } },
    async (request, reply) => {
      const { service } = request.params;
      const deploy = await once(context, request, (caller) => operations.resume(service, caller));
      return reply.code(202).header("location", `/v1/deploys/${deploy.id}`).send(deploy);
    },
  );
}
