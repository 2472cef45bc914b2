import type { FastifyInstance } from "fastify";

import { generationUnknown } from "../errors.ts";
import { Generation, GenerationParams, Service, ServiceList } from "../schemas.ts";
import { type RouteContext, findService } from "./context.ts";

export function serviceRoutes(app: FastifyInstance, { operations }: RouteContext): void {
  app.get("/v1/services", { schema: { response: { 200: ServiceList } } }, (): ServiceList => {
    return { services: operations.status().services };
  });
  // The ETag names the current generation, which is what a deploy's If-Match compares. It is not a validator of
  // the body, which changes with every connection: there is no 304.
  app.get<{ Params: { service: string } }>(
    "/v1/services/:service",
    { schema: { response: { 200: Service } } },
    (request, reply) => {
      const service = findService(operations, request.params.service);
      if (service.current !== null) void reply.header("etag", `"${service.current}"`);
      return reply.send(service);
    },
  );
  app.get<{ Params: GenerationParams }>(
    "/v1/services/:service/generations/:number",
    { schema: { params: GenerationParams, response: { 200: Generation } } },
    (request): Generation => {
      const { service: name, number } = request.params;
      const { generations } = findService(operations, name);
      const generation = generations.find((candidate) => candidate.number === number);
      if (generation !== undefined) return generation;
      throw generationUnknown(
        name,
        number,
        generations.map((candidate) => candidate.number),
      );
    },
  );
}
