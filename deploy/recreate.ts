/**
 * Recreate: never two generations alive at once, for what must not run twice.
 *
 *   starting     the candidate's slots take all new connections, which wait there (vacate.ts); the previous generation
 *                drains and ends; then the candidate is started on those slots
 *   verifying    the proof, though the waiting connections meet the candidate as soon as it accepts
 *   baking       nothing is kept warm, but what is found wanting now is still gone back on
 *   rolling-back the candidate ends; the previous release is started again, under a new number, on the same slots
 *
 * The way back is a start, so it can fail too: then nothing serves, the connections still wait, and the deploy has
 * `failed`. It is never tried twice, and never with the release that has just failed (`fallsBack`).
 * Until the previous generation has been told to end, going back is as everywhere: its weight, and the end.
 */
import { blueGreen } from "./blue-green.ts";
import { drain } from "./course.ts";
import type { Deployment, Reason } from "./deployment.ts";
import { doubt, nextDoubtAt } from "./doubt.ts";
import { readyDueAt } from "./due.ts";
import { allReady, isEnding, isOver, type Observation, type Step } from "./fleet.ts";
import { becomeReady, beforeUsers, giveUp, retire, takeWeight, verify } from "./proof.ts";
import * as reasons from "./reasons.ts";
import { bake, enter, wait } from "./stage.ts";
import type { Strategy } from "./strategy.ts";
import { vacate } from "./vacate.ts";

export const recreate: Strategy = {
  next(deployment, observation) {
    // There is nothing that could run twice.
    if (deployment.from === null) return blueGreen.next(deployment, observation);
    switch (deployment.phase) {
      case "starting":
        return beforeUsers(deployment, observation, fail) ?? start(deployment, observation);
      case "verifying":
        return beforeUsers(deployment, observation, fail) ?? verify(deployment, observation, fail);
      case "shifting":
        return beforeUsers(deployment, observation, fail) ?? enter("baking");
      case "baking":
        return watch(deployment, observation);
      case "rolling-back":
        return fallBack(deployment, observation);
      case "draining":
        return drain(observation);
      case "succeeded":
      case "rolled-back":
      case "failed":
      case "aborted":
        return wait(null);
    }
  },
};

function start(deployment: Deployment, observation: Observation): Step {
  const { now, candidate } = observation;
  const { instances, readyTimeoutMs } = deployment.options;
  const step = vacate(observation);
  if (candidate === null || !candidate.placed) {
    const deadline = deployment.startedAt + readyTimeoutMs;
    if (now >= deadline) return fail(deployment, observation, reasons.readyTimeout(deployment, observation));
    return step?.do === "wait" ? wait(deadline) : (step ?? wait(deadline));
  }
  const isOnlyDraining = step?.do === "wait" && deployment.options.overlaps;
  if (step !== null && !isOnlyDraining) return step;
  if (candidate.wanted < instances) return { do: "resize", generation: "candidate", instances };
  return becomeReady(deployment, observation, deployment.resizedAt ?? deployment.startedAt, fail);
}

function watch(deployment: Deployment, observation: Observation): Step {
  const { candidate } = observation;
  const { fallsBack } = deployment.options;
  const reason = doubt(deployment, observation, fallsBack);
  if (reason !== null && (fallsBack || candidate === null || isEnding(candidate)))
    return fail(deployment, observation, reason);
  // There is nothing that it could be gone back to: nothing to wait for.
  if (!fallsBack || candidate === null) return enter("draining");
  const step = bake(deployment, { ...observation, candidate });
  if (step.do !== "wait") return step;
  const alarm = nextDoubtAt(deployment, observation);
  return wait(alarm === null ? step.until : Math.min(alarm, step.until ?? alarm));
}

function fail(deployment: Deployment, observation: Observation, reason: Reason): Step {
  const { candidate, previous } = observation;
  if (previous !== null && !isEnding(previous))
    return deployment.weight > 0 ? takeWeight : giveUp(deployment, observation, reason);
  if (deployment.options.fallsBack) return enter("rolling-back", reason);
  // The weight stays: there is no one to take it, and the queue that holds the connections is here.
  if (candidate === null || isOver(candidate.state)) return enter("failed", reason);
  return isEnding(candidate) ? wait(null) : retire("candidate", reason);
}

function fallBack(deployment: Deployment, observation: Observation): Step {
  const { now, candidate, previous, fallback, nextNumber } = observation;
  const { reason, resizedAt, startedAt } = deployment;
  if (candidate !== null && !isOver(candidate.state))
    return isEnding(candidate) ? wait(null) : retire("candidate", reason);
  // Someone may have asked for the way back before the previous generation had ended.
  if (previous !== null && !isOver(previous.state)) return wait(null);
  if (fallback === null) return { do: "fallBack", number: deployment.fallback ?? nextNumber };
  if (allReady(fallback) && !isEnding(fallback))
    return enter(reasons.isAbort(reason) ? "aborted" : "rolled-back");
  const deadline = readyDueAt(deployment, resizedAt ?? startedAt, fallback);
  if (!isEnding(fallback) && fallback.exits === 0 && now < deadline) return wait(deadline);
  const nothing = reasons.fallbackFailed(deployment, fallback);
  if (isOver(fallback.state)) return enter("failed", nothing);
  return isEnding(fallback) ? wait(null) : retire("fallback", nothing);
}
