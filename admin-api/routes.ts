/** Every resource, one a file. */
import type { FastifyInstance } from "fastify";

import type { RouteContext } from "./routes/context.ts";
import { callerRoutes } from "./routes/caller.ts";
import { dashboardRoutes } from "./routes/dashboard.ts";
import { deployRoutes } from "./routes/deploys.ts";
import { doctorRoutes } from "./routes/doctor.ts";
import { endRoutes } from "./routes/end.ts";
import { eventRoutes } from "./routes/events.ts";
import { healthRoutes } from "./routes/health.ts";
import { holdRoutes } from "./routes/hold.ts";
import { listenerRoutes } from "./routes/listeners.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { openApiRoutes } from "./routes/openapi.ts";
import { reloadRoutes } from "./routes/reload.ts";
import { restartRoutes } from "./routes/restart.ts";
import { rollbackRoutes } from "./routes/rollback.ts";
import { scaleRoutes } from "./routes/scale.ts";
import { serviceRoutes } from "./routes/services.ts";
import { statusRoutes } from "./routes/status.ts";
import { upgradeRoutes } from "./routes/upgrade.ts";

const ROUTES = [
  healthRoutes,
  metricsRoutes,
  openApiRoutes,
  callerRoutes,
  statusRoutes,
  doctorRoutes,
  listenerRoutes,
  serviceRoutes,
  deployRoutes,
  rollbackRoutes,
  restartRoutes,
  holdRoutes,
  scaleRoutes,
  endRoutes,
  reloadRoutes,
  eventRoutes,
  upgradeRoutes,
  dashboardRoutes,
] as const;

export function addRoutes(app: FastifyInstance, context: RouteContext): void {
  for (const routes of ROUTES) routes(app, context);
}
