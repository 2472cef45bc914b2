import type { FastifyInstance } from "fastify";

import { generationStale } from "../errors.ts";
import { Deploy, DeployList, DeployQuery, DeployRequest, NoBody } from "../schemas.ts";
import type { Caller, Operations } from "../operations.ts";
import { type RouteContext, findService, once } from "./context.ts";

export function deployRoutes(app: FastifyInstance, context: RouteContext): void {
  const { operations } = context;

  app.post<{ Params: { service: string }; Body: DeployRequest }>(
    "/v1/services/:service/deploys",
    { config: { role: "deploy" }, schema: { body: DeployRequest, response: { 202: Deploy } } },
    async (request, reply) => {
      const { service } = request.params;
      const deploy = await once(context, request, (caller) => {
        // In one turn with the deploy itself: between the two nothing can become current.
        expectGeneration(operations, service, request.headers["if-match"]);
        return operations.deploy(service, request.body, caller);
      });
      return reply.code(202).header("location", `/v1/deploys/${deploy.id}`).send(deploy);
    },
  );

  app.get<{ Querystring: DeployQuery }>(
    "/v1/deploys",
    { schema: { querystring: DeployQuery, response: { 200: DeployList } } },
    async (request) => operations.listDeploys(request.query),
  );

  app.get<{ Params: { id: string } }>(
    "/v1/deploys/:id",
    { schema: { response: { 200: Deploy } } },
    async (request) => operations.getDeploy(request.params.id),
  );

  for (const [verb, act] of Object.entries(wishes(operations))) {
    app.post<{ Params: { id: string } }>(
      `/v1/deploys/:id/${verb}`,
      { config: { role: "deploy" }, schema: { body: NoBody, response: { 200: Deploy } } },
      async (request) => once(context, request, async (caller) => act(request.params.id, caller)),
    );
  }
}

type Wish = (id: string, caller: Caller) => Deploy | Promise<Deploy>;

function wishes(operations: Operations): Readonly<Record<"promote" | "abort" | "pause" | "continue", Wish>> {
  return {
    promote: (id, caller) => operations.promote(id, caller),
    abort: (id, caller) => operations.abort(id, caller),
    pause: (id, caller) => operations.pause(id, caller),
    continue: (id, caller) => operations.continueDeploy(id, caller),
  };
}

/** If-Match: the quoted number of the current generation, several of them, or `*` for any. */
function expectGeneration(operations: Operations, service: string, header: string | undefined): void {
  if (header === undefined) return;
  const { current } = findService(operations, service);
  const accepted = header.split(",").map((tag) => tag.trim());
  if (current !== null && (accepted.includes("*") || accepted.includes(`"${current}"`))) return;
  throw generationStale(service, header, current);
}
