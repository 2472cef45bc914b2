import { ApiError, type Client } from "../admin-api/client.ts";
import { hasCode } from "../handoff/coded-error.ts";
import { deployNotRunning, targetUnknown } from "./errors.ts";

/** The id of the deploy that `target` means: the running one of a service of that name, or a deploy's own id. */
export async function deployIdOf(client: Client, target: string): Promise<string> {
  try {
    const { deploy } = await client.service(target);
    if (deploy === null) throw deployNotRunning(target);
    return deploy.id;
  } catch (error) {
    if (!hasCode(error, "SERVICE_UNKNOWN") || !(error instanceof ApiError)) throw error;
    return ownId(client, target, error.detail.replace(/^There is no service "[^"]*"\. ?/, ""));
  }
}

async function ownId(client: Client, target: string, services: string): Promise<string> {
  try {
    return (await client.getDeploy(target)).id;
  } catch (error) {
    if (hasCode(error, "DEPLOY_UNKNOWN")) throw targetUnknown(target, services);
    throw error;
  }
}
