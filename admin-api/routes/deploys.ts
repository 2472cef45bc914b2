import type { FastifyInstance } from "fastify";

import { BEGINS, NO_BEGINNING, NOT_HEARD, type Operation } from "../operation.ts";
import type { Caller, Operations } from "../operations.ts";
import { DeployQuery, DeployRequest, NoBody, WaitQuery } from "../request-schemas.ts";
import { Deploy, DeployList } from "../schemas.ts";
import { changeOf } from "../wait.ts";
import { type RouteContext, once, onService } from "./context.ts";

export function deployRoutes(app: FastifyInstance, context: RouteContext): void {
  const { operations } = context;

  app.post<{ Params: { service: string }; Body: DeployRequest }>(
    "/v1/services/:service/deploys",
    {
      config: {
        role: "deploy",
        operation: {
          id: "startDeploy",
          summary: "Deploys a version: accepted at once, its end is seen by reading or following the deploy.",
          tag: "services",
          refusals: [...NO_BEGINNING, "DEPLOY_STEPS_UNUSABLE", "VALUE_INVALID"],
          ...BEGINS,
        },
      },
      schema: { body: DeployRequest, response: { 202: Deploy } },
    },
    async (request, reply) => {
      const deploy = await onService(context, request, (service, caller) =>
        operations.deploy(service, request.body, caller),
      );
      return reply.code(202).header("location", `/v1/deploys/${deploy.id}`).send(deploy);
    },
  );

  app.get<{ Querystring: DeployQuery }>(
    "/v1/deploys",
    {
      config: {
        operation: {
          id: "listDeploys",
          summary: "Deploys, the newest first, in pages.",
          tag: "deploys",
          refusals: ["SERVICE_UNKNOWN", "DEPLOY_UNKNOWN"],
        },
      },
      schema: { querystring: DeployQuery, response: { 200: DeployList } },
    },
    async (request) => operations.listDeploys(request.query),
  );

  app.get<{ Params: { id: string }; Querystring: WaitQuery }>(
    "/v1/deploys/:id",
    {
      config: {
        operation: {
          id: "getDeploy",
          summary: "One deploy; with `wait` after its next change, or when the time is over.",
          tag: "deploys",
        },
      },
      schema: { querystring: WaitQuery, response: { 200: Deploy } },
    },
    async (request, reply) => changeOf(context, request.params.id, request.query.wait, reply.raw),
  );

  for (const [verb, { summary, refusals, act }] of Object.entries(wishes(operations))) {
    app.post<{ Params: { id: string } }>(
      `/v1/deploys/:id/${verb}`,
      {
        config: {
          role: "deploy",
          operation: { id: `${verb}Deploy`, summary, tag: "deploys", refusals: [...NOT_HEARD, ...refusals] },
        },
        schema: { body: NoBody, response: { 200: Deploy } },
      },
      async (request) => once(context, request, async (caller) => act(request.params.id, caller)),
    );
  }
}

interface Wish extends Pick<Operation, "summary"> {
  readonly refusals: readonly string[];
  readonly act: (id: string, caller: Caller) => Deploy | Promise<Deploy>;
}

function wishes(operations: Operations): Readonly<Record<"promote" | "abort" | "pause" | "continue", Wish>> {
  return {
    promote: {
      summary: "Skips the remaining steps and the bake.",
      refusals: [],
      act: (id, caller) => operations.promote(id, caller),
    },
    pause: {
      summary: "Stays at the step that the deploy has reached.",
      refusals: [],
      act: (id, caller) => operations.pause(id, caller),
    },
    continue: {
      summary: "Goes on to the next step.",
      refusals: [],
      act: (id, caller) => operations.continueDeploy(id, caller),
    },
    abort: {
      summary: "Stops the deploy; traffic goes back to where it was.",
      refusals: ["DEPLOY_NO_WAY_BACK"],
      act: (id, caller) => operations.abort(id, caller),
    },
  };
}
