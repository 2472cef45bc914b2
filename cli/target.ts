/** What the argument <deploy> means: the deploy with that id, or one of the service of that name. */
import type { Deploy } from "../admin-api/schemas.ts";
import { ApiError, type Client } from "../admin-api/client.ts";
import { hasCode } from "../handoff/coded-error.ts";
import { deployNotRunning, targetUnknown } from "./errors.ts";

/** The id of the deploy that `target` means: the running one of a service of that name, or a deploy's own id. */
export async function deployIdOf(client: Client, target: string): Promise<string> {
  const found = await serviceOrDeploy(client, target, () => client.service(target));
  if (!("generations" in found)) return found.id;
  if (found.deploy === null) throw deployNotRunning(target);
  return found.deploy.id;
}

/** The deploy of that id, or the newest one of the service, which may be draining already, or have ended. */
export async function latestDeployOf(client: Client, target: string): Promise<Deploy> {
  const newest = async () => client.listDeploys({ service: target, limit: 1 });
  const found = await serviceOrDeploy(client, target, newest);
  if (!("deploys" in found)) return found;
  const [deploy] = found.deploys;
  if (deploy === undefined) throw deployNotRunning(target);
  return deploy;
}

/** A service's name is looked for first: a deploy's id has one in it. */
async function serviceOrDeploy<T>(
  client: Client,
  target: string,
  ofService: () => Promise<T>,
): Promise<T | Deploy> {
  try {
    return await ofService();
  } catch (error) {
    if (!hasCode(error, "SERVICE_UNKNOWN") || !(error instanceof ApiError)) throw error;
    return byId(client, target, error.detail.replace(/^There is no service "[^"]*"\. ?/, ""));
  }
}

async function byId(client: Client, target: string, services: string): Promise<Deploy> {
  try {
    return await client.getDeploy(target);
  } catch (error) {
    if (hasCode(error, "DEPLOY_UNKNOWN")) throw targetUnknown(target, services);
    throw error;
  }
}
