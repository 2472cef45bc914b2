/**
 * Waits for a deploy and tells its phases as they happen. The deploy needs no one who waits: when this process is
 * interrupted or the daemon is replaced, it goes on. After a lost connection the wait goes on where it was.
 */
import type { StreamMessage } from "../admin-api/client.ts";
import type { Deploy, Phase } from "../admin-api/schemas.ts";
import { hasCode } from "../handoff/coded-error.ts";
import { deployLost, outcomeUnknown } from "./errors.ts";
import { Live } from "./live.ts";
import { percent } from "./percent.ts";
import { renderDeployTitle, renderPhase, renderStanding, renderStep } from "./render-deploy.ts";
import { resumed } from "./resume.ts";
import type { ExitCode, Session } from "./session.ts";

/** 128 + SIGINT: whoever waited has been sent away, and the deploy has not been told of it. */
const DETACHED = 130;

/** Waits for the answer to what begins a deploy. Who is interrupted meanwhile cannot know whether one has begun, and is told so. */
export async function begun(session: Session, service: string, request: Promise<Deploy>): Promise<Deploy> {
  const interrupted = () => {
    session.warn(`handoffd had not answered yet; whether a deploy of ${service} has begun is in:`);
    session.warn(`  ${session.commandLine("history", service)}`);
    process.exit(DETACHED);
  };
  process.once("SIGINT", interrupted);
  try {
    return await request;
  } finally {
    process.off("SIGINT", interrupted);
  }
}

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
    session.draw?.([]);
    session.warn(`not waiting any more; deploy ${deploy.id} goes on`);
    session.warn(`  to wait for it again: ${session.commandLine("wait", deploy.id)}`);
    session.warn(`  to stop it:           ${session.commandLine("abort", deploy.id)}`);
    process.exit(DETACHED);
  };
  process.once("SIGINT", interrupted);
  try {
    return await wait(session, deploy);
  } finally {
    process.off("SIGINT", interrupted);
  }
}

async function wait(session: Session, deploy: Deploy): Promise<Deploy> {
  const { id, service } = deploy;
  using live = Live.of(session, deploy);
  const progress = new Progress(session, live);
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
  readonly #live: Live | null;
  #deploy: Deploy | null = null;
  #phases = 0;
  #weight = 0;

  constructor(session: Session, live: Live | null) {
    this.#session = session;
    this.#live = live;
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
    for (const record of deploy.phases.slice(this.#phases))
      this.#session.say(renderPhase(deploy, record, this.#session.look()));
    this.#phases = deploy.phases.length;
    if (deploy.weight !== this.#weight && deploy.finishedAt === null) {
      const at = new Date(this.#session.now()).toISOString();
      this.#session.say(renderStep(deploy, at, `  weight ${percent(deploy.weight)}`));
    }
    this.#weight = deploy.weight;
    if (deploy.finishedAt === null) this.#live?.show(deploy);
  }
}
