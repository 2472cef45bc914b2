import type { FastifyInstance } from "fastify";

import { generationUnknown } from "../errors.ts";
import { GenerationParams } from "../request-schemas.ts";
import { Generation, Service, ServiceList } from "../schemas.ts";
import { type RouteContext, findService } from "./context.ts";

export function serviceRoutes(app: FastifyInstance, { operations }: RouteContext): void {
  app.get(
    "/v1/services",
    {
      config: { operation: { id: "listServices", summary: "All services.", tag: "services" } },
      schema: { response: { 200: ServiceList } },
    },
    (): ServiceList => {
      return { services: operations.status().services };
    },
  );
  // The ETag names the current generation, which is what a deploy's If-Match compares. It is not a validator of
  // the body, which changes with every connection: there is no 304.
  app.get<{ Params: { service: string } }>(
    "/v1/services/:service",
    {
      config: {
        operation: {
          id: "getService",
          summary: "One service. Its ETag is the quoted number of the current generation.",
          tag: "services",
          headers: { ETag: "The quoted number of the current generation; absent without one" },
        },
      },
      schema: { response: { 200: Service } },
    },
    (request, reply) => {
      const service = findService(operations, request.params.service);
      if (service.current !== null) void reply.header("etag", `"${service.current}"`);
      return reply.send(service);
    },
  );
  app.get<{ Params: GenerationParams }>(
    "/v1/services/:service/generations/:number",
    {
      config: {
        operation: { id: "getGeneration", summary: "One generation with its instances.", tag: "services" },
      },
      schema: { params: GenerationParams, response: { 200: Generation } },
    },
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
