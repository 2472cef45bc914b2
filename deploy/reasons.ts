/**
 * Why a deploy went as it did: a stable code, and a sentence that names what happened, to which generation, and what
 * still holds.
 */
import type { Deployment, Reason } from "./deployment.ts";
import type { Observation } from "./fleet.ts";
import { hasWayBack, isUnwanted } from "./wish.ts";

const ABORTED = "DEPLOY_ABORTED";

/** Nothing can be seen any more of what a process that has ended had open, and this is how most of them miss their socket. */
const SEE_OUTPUT =
  "See its output; if it misses descriptor 3 there: npm start, and node started by node, lose it, so start the program " +
  "itself, or let a shell wrapper end in exec.";

/** Whether a deploy that ends for this reason was stopped by someone rather than by something. */
export function isAbort(reason: Reason | null): boolean {
  return reason?.code === ABORTED;
}

type About = readonly [deployment: Deployment, observation: Observation];

export function aborted(...about: About): Reason {
  return reason(ABORTED, "The deploy was aborted on request.", about);
}

export function rolledBack(...about: About): Reason {
  return reason("DEPLOY_ROLLED_BACK", "The deploy was rolled back on request.", about);
}

export function candidateFailed(...about: About): Reason {
  const { to, phase } = about[0];
  return reason("DEPLOY_CANDIDATE_FAILED", `Generation ${to} failed while ${phase}${cause(about)}`, about);
}

export function candidateExited(...about: About): Reason {
  const { to, phase } = about[0];
  const times = about[1].candidate?.exits ?? 0;
  const what = times === 1 ? "an instance" : `instances, ${times} times,`;
  const sentence = `Generation ${to} lost ${what} while ${phase}${cause(about)}`;
  return reason(
    "DEPLOY_CANDIDATE_EXITED",
    phase === "starting" ? `${sentence} ${SEE_OUTPUT}` : sentence,
    about,
  );
}

export function candidateNotReady(...about: About): Reason {
  const { to, phase } = about[0];
  return reason(
    "DEPLOY_CANDIDATE_NOT_READY",
    `No instance of generation ${to} is ready any more while ${phase}${cause(about)}`,
    about,
  );
}

export function candidateLost(...about: About): Reason {
  return reason("DEPLOY_CANDIDATE_LOST", `Generation ${about[0].to} cannot be found any more.`, about);
}

export function readyTimeout(...about: About): Reason {
  const [{ to, options }, { candidate }] = about;
  if (candidate === null) {
    const within = seconds(options.readyTimeoutMs);
    return reason("DEPLOY_READY_TIMEOUT", `Generation ${to} was not started within ${within}.`, about);
  }
  // For how long it was waited is in the cause, where there is one: what did not come knows its own limit.
  const within = candidate.failure === null ? `within ${seconds(options.readyTimeoutMs)}` : "in time";
  const sentence =
    `Generation ${to} was not ready ${within} (${candidate.ready} of ${candidate.wanted} instances)${cause(about)} ` +
    "See its output; ready.timeout is the limit.";
  return reason("DEPLOY_READY_TIMEOUT", sentence, about);
}

export function verificationFailed(...about: About): Reason {
  return reason(
    "DEPLOY_VERIFY_FAILED",
    `Generation ${about[0].to} did not pass its verification${cause(about)}`,
    about,
  );
}

export function verifyTimeout(...about: About): Reason {
  const [{ to, options }, { candidate }] = about;
  const ready = candidate === null ? "" : ` (${candidate.ready} of ${candidate.wanted} instances are ready)`;
  const sentence = `The verification of generation ${to} did not pass within ${seconds(options.verifyTimeoutMs)}${ready}.`;
  return reason("DEPLOY_VERIFY_TIMEOUT", sentence, about);
}

/** Of a deploy that succeeds, but without its bake, and perhaps against a wish. */
export function previousEnded(deployment: Deployment): Reason {
  const { from, to } = deployment;
  const unheard = isUnwanted(deployment)
    ? `, so the ${deployment.wish ?? ""} that was asked for could not be done`
    : "";
  return {
    code: "DEPLOY_PREVIOUS_ENDED",
    message:
      `Generation ${from ?? "?"} ended before the deploy did: there was nothing to go back to${unheard}. ` +
      `Generation ${to} serves all new connections.`,
  };
}

/** Of a candidate that fails when there is no earlier generation to take its users. */
export function nothingLeft(...about: About): Reason {
  const { from, to } = about[0];
  const earlier = from === null ? "there is no earlier one" : `generation ${from} had ended before`;
  return {
    code: "DEPLOY_NOTHING_LEFT",
    message:
      `Generation ${to} ended${cause(about).slice(0, -1)}, and ${earlier}: no generation serves, and new connections ` +
      "wait in the queue. Deploy a version that works.",
  };
}

function reason(code: string, sentence: string, about: About): Reason {
  return { code, message: `${sentence} ${standing(...about)}` };
}

function standing({ from }: Deployment, observation: Observation): string {
  if (from === null) return "There is no earlier generation, so new connections wait for one.";
  if (!hasWayBack(observation))
    return `Generation ${from} has itself ended, so new connections wait in its queue.`;
  return (observation.candidate?.weight ?? 0) > 0
    ? `New connections go to generation ${from} again.`
    : `Traffic stays on generation ${from}.`;
}

/** The rest of a sentence: what the candidate itself says of its failure, and the sentence's end. */
function cause([, { candidate }]: About): string {
  const message = candidate?.failure?.message;
  if (message === undefined) return ".";
  return /[.?!]$/u.test(message) ? `: ${message}` : `: ${message}.`;
}

function seconds(ms: number): string {
  return `${ms / 1000}s`;
}
