/**
 * Why a deploy went as it did: a stable code, and a sentence that names what happened, to which generation, and what
 * still holds.
 */
import type { Deployment, Reason } from "./deployment.ts";
import { touched } from "./exposure.ts";
import { type GenerationView, isEnding, type Observation } from "./fleet.ts";
import { hasWayBack, isUnwanted } from "./wish.ts";

const ABORTED = "DEPLOY_ABORTED";
const FALLBACK_FAILED = "DEPLOY_FALLBACK_FAILED";
const NOTHING_SERVES =
  "No generation serves, and new connections wait in the queue. Deploy a version that works.";

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

export function queueStuck(...about: About): Reason {
  const [{ to, phase, options }] = about;
  const sentence =
    `The accept queue of generation ${to} was not empty for ${seconds(options.watchQueueMs)} while ${phase}: ` +
    "it does not keep up.";
  return reason("DEPLOY_QUEUE_STUCK", sentence, about);
}

export function analysisFailed(...about: About): Reason {
  const [{ to, phase }, { analysis }] = about;
  const sentence = `The analysis of generation ${to} failed while ${phase}${ended(analysis?.reason)}`;
  return reason("DEPLOY_ANALYSIS_FAILED", sentence, about);
}

export function analysisWithoutData(...about: About): Reason {
  const [{ to, phase, options }, { now, analysis }] = about;
  const good = `${analysis?.samples ?? 0} of ${options.analysis?.samples ?? 0} good samples`;
  const waited = analysis === null ? "" : ` in ${seconds(now - analysis.since)}`;
  const sentence = `The analysis of generation ${to} came to no verdict${waited} while ${phase} (${good})${ended(analysis?.reason)}`;
  return reason("DEPLOY_ANALYSIS_NO_DATA", sentence, about);
}

/** Of recreate, when neither release runs. What was wrong with the candidate is said first. */
export function fallbackFailed(deployment: Deployment, fallback: GenerationView): Reason {
  const { reason: earlier, fallback: number, options } = deployment;
  if (earlier?.code === FALLBACK_FAILED) return earlier;
  const why =
    fallback.failure === null
      ? ` within ${seconds(options.readyTimeoutMs)} (${fallback.ready} of ${fallback.wanted} instances).`
      : ended(fallback.failure);
  return {
    code: FALLBACK_FAILED,
    message:
      `${earlier?.message ?? ""} Generation ${number ?? "?"}, the same release as generation ${deployment.from ?? "?"}, ` +
      `did not become ready${why} ${NOTHING_SERVES}`,
  };
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
  return { code, message: `${sentence} ${standing(...about)}${met(...about)}` };
}

function standing(deployment: Deployment, observation: Observation): string {
  const { from, strategy, options } = deployment;
  const { candidate, previous } = observation;
  if (from === null) return "There is no earlier generation, so new connections wait for one.";
  if (strategy === "recreate" && (previous === null || isEnding(previous))) {
    if (!options.fallsBack) return NOTHING_SERVES;
    return `The release of generation ${from} is started again; new connections wait in the queue until it is ready.`;
  }
  if (!hasWayBack(deployment, observation))
    return `Generation ${from} has itself ended, so new connections wait in its queue.`;
  return (candidate?.weight ?? 0) > 0
    ? `New connections go to generation ${from} again.`
    : `Traffic stays on generation ${from}.`;
}

/** Of a candidate that users are taken from: how many it can have harmed. */
function met({ to, exposure, pinned }: Deployment, { now }: Observation): string {
  const had = touched(exposure, now);
  if (had === null || exposure?.since === null) return "";
  const most = percent(had.peak) === percent(had.share) ? "" : ` (${percent(had.peak)} at most)`;
  const share = had.peak > 0 ? `${percent(had.share)} of new connections${most}` : "";
  const pins = pinned ? "all of the pinned networks'" : "";
  const what = [share, pins].filter((each) => each !== "").join(", and ");
  return ` Generation ${to} had ${what} for ${duration(had.forMs)}.`;
}

/** The rest of a sentence: what the candidate itself says of its failure, and the sentence's end. */
function cause([, { candidate }]: About): string {
  return ended(candidate?.failure);
}

function ended(why: Reason | null | undefined): string {
  const message = why?.message;
  if (message === undefined) return ".";
  return /[.?!]$/u.test(message) ? `: ${message}` : `: ${message}.`;
}

function seconds(ms: number): string {
  return `${ms / 1000}s`;
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(3))} %`;
}

function duration(ms: number): string {
  const whole = Math.round(ms / 1000);
  if (ms < 10_000) return `${Number((ms / 1000).toFixed(1))}s`;
  return whole < 120 ? `${whole}s` : `${Math.floor(whole / 60)}m${whole % 60}s`;
}
