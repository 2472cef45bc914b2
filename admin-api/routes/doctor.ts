import type { FastifyInstance } from "fastify";

import { Diagnosis } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

/** Looking costs milliseconds and a child process or two: however many ask at a time, it is done once. */
export function doctorRoutes(app: FastifyInstance, { operations }: RouteContext): void {
  let looking: Promise<Diagnosis> | null = null;
  app.get(
    "/v1/doctor",
    {
      config: {
        operation: {
          id: "getDiagnosis",
          summary:
            "Whether the host, the unit and the applications are as the daemon needs them, as it sees them.",
          tag: "daemon",
        },
      },
      schema: { response: { 200: Diagnosis } },
    },
    async () => {
      looking ??= operations.doctor().finally(() => (looking = null));
      return looking;
    },
  );
}
