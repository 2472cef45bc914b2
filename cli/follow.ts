/**
 * Waits for a deploy and tells its phases as they happen. The deploy needs no one who waits: when this process is
 * interrupted or the daemon is replaced, it goes on. After a lost connection the wait goes on where it was.
 */
import type { StreamMessage } from "../admin-api/client.ts";
import type { Deploy, Phase } from "../admin-api/schemas.ts";
import { hasCode } from "../handoff/coded-error.ts";
import { deployLost, outcomeUnknown } from "./errors.ts";
import { renderDeployTitle, renderPhase, renderStanding, renderStep } from "./render.ts";
import { resumed } from "./resume.ts";
import type { ExitCode, Session } from "./session.ts";

/** Waits until `deploy` has ended and reports how. 0 when it ended in one of the `wanted` phases. */
export async function settle(session: Session, deploy: Deploy, wanted: readonly Phase[]): Promise<ExitCode> {
  session.say(renderDeployTitle(deploy));
  const ended = await follow(session, deploy);
  session.show(ended, () => "");
  if (wanted.includes(ended.phase)) return 0;
  session.warn(
    `deploy ${ended.id} of ${ended.service} ${phrase(ended.phase)}: ${ended.reason?.message ?? "no reason given"}`,
  );
  session.warn(renderStanding(await session.client.service(ended.service)));
  return 1;
}

function phrase(phase: Phase): string {
  return phase === "failed" || phase === "succeeded" ? phase : `was ${phase.replace("-", " ")}`;
}

async function follow(session: Session, deploy: Deploy): Promise<Deploy> {
  const interrupted = () => {
    session.warn(`not waiting any more; the deploy goes on. To stop it: handoffctl abort ${deploy.id}`);
    process.exit(130);
  };
  process.once("SIGINT", interrupted);
  try {
    return await wait(session, deploy);
  } finally {
    process.off("SIGINT", interrupted);
  }
}

async function wait(session: Session, { id, service }: Deploy): Promise<Deploy> {
  const progress = new Progress(session);
  try {
    for await (const message of resumed(session, (since) => session.client.deployEvents(id, { since }))) {
      progress.take(message);
      if (message.kind === "end" && message.deploy !== null) return message.deploy;
    }
  } catch (error) {
    // It was there when it was accepted.
    if (hasCode(error, "DEPLOY_UNKNOWN")) throw deployLost(id);
    if (hasCode(error, "DAEMON_NOT_REACHABLE")) throw outcomeUnknown(id, service, error);
    throw error;
  }
  throw deployLost(id);
}

/** Says each phase, each new weight and each message once, whatever a reconnection repeats. */
class Progress {
  readonly #session: Session;
  #deploy: Deploy | null = null;
  #phases = 0;
  #weight = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  take(message: StreamMessage): void {
    switch (message.kind) {
      case "gap":
        this.#session.say("           (some messages of the meantime are not kept)");
        return;
      case "event": {
        const { at, type, message: text } = message.event;
        // The deploy's own events are told by its record, which is complete even where events were missed.
        if (this.#deploy !== null && !type.startsWith("deploy.")) {
          this.#session.say(renderStep(this.#deploy, at, `  ${text}`));
        }
        return;
      }
      case "deploy":
      case "end":
        if (message.deploy !== null) this.#show(message.deploy);
    }
  }

  #show(deploy: Deploy): void {
    this.#deploy = deploy;
    for (const record of deploy.phases.slice(this.#phases)) this.#session.say(renderPhase(deploy, record));
    this.#phases = deploy.phases.length;
    if (deploy.weight !== this.#weight && deploy.finishedAt === null) {
      const at = new Date(this.#session.now()).toISOString();
      this.#session.say(renderStep(deploy, at, `  weight ${Number((deploy.weight * 100).toFixed(1))} %`));
    }
    this.#weight = deploy.weight;
  }
}
