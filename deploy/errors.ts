/**
 * What a deploy refuses. Each sentence says what is true now and what to do instead; a refusal changes nothing.
 */
import { CodedError } from "../handoff/coded-error.ts";
import { type Deployment, isUnderway } from "./deployment.ts";

function refusal(code: string, deployment: Deployment, sentence: string): CodedError {
  const { id, service, phase } = deployment;
  return new CodedError(code, sentence, { details: { deploy: id, service, phase } });
}

export function deployInProgress(active: Deployment): CodedError {
  const { id, service, phase, to } = active;
  const what = isUnderway(active) ? "Wait for it, promote it or abort it." : "Wait for its end.";
  return refusal(
    "DEPLOY_IN_PROGRESS",
    active,
    `Deploy ${id} of ${service} to generation ${to} is ${phase}; nothing was started. ${what}`,
  );
}

export function alreadyEnded(deployment: Deployment): CodedError {
  const { id, phase, service } = deployment;
  return refusal(
    "DEPLOY_ALREADY_ENDED",
    deployment,
    `Deploy ${id} has ended (${phase}) and does not change any more. To change what serves, deploy or roll back ${service}.`,
  );
}

export function tooLate(deployment: Deployment): CodedError {
  const { id, from, to, service } = deployment;
  return refusal(
    "DEPLOY_TOO_LATE",
    deployment,
    `Deploy ${id} is done but for the drain: generation ${to} serves and ${generationOr(from)} is ending. ` +
      `To go back, roll back ${service}: that deploys the previous release again.`,
  );
}

export function rollingBack(deployment: Deployment): CodedError {
  const { id, from, to, strategy } = deployment;
  const what =
    strategy === "recreate"
      ? `the release of ${generationOr(from)} is started again once generation ${to} has ended, and new connections ` +
        "wait for it. There is nothing left to ask of it; a new deploy may begin when it has ended."
      : `new connections go to ${generationOr(from)}, and generation ${to} is ending. ` +
        "There is nothing left to ask of it; a new deploy may begin.";
  return refusal("DEPLOY_ROLLING_BACK", deployment, `Deploy ${id} is going back already: ${what}`);
}

export function notShifted(deployment: Deployment): CodedError {
  const { id, phase, to, from } = deployment;
  const serving = from === null ? "no generation was replaced" : `traffic is on generation ${from}`;
  return refusal(
    "DEPLOY_NOT_SHIFTED",
    deployment,
    `Deploy ${id} is ${phase} and generation ${to} has had no user: ${serving}, so there is nothing to roll back. ` +
      "To stop the deploy, abort it.",
  );
}

export function noWayBack(deployment: Deployment): CodedError {
  const { id, from, to } = deployment;
  const why = from === null ? "there was none before it" : `generation ${from} has ended or is ending`;
  return refusal(
    "DEPLOY_NO_WAY_BACK",
    deployment,
    `Deploy ${id} cannot go back to an earlier generation: ${why}. Generation ${to} goes on serving; ` +
      "deploy the version that should replace it.",
  );
}

export function noPreviousRelease(service: string, version: string | null): CodedError {
  const current = version === null ? "a release without a version" : `version ${version}`;
  return new CodedError(
    "NO_PREVIOUS_RELEASE",
    `${service} runs ${current}, and no earlier release of it is known that was not itself rolled back. ` +
      "Nothing was changed; deploy the version that you want by name.",
    { details: { service, version } },
  );
}

export function nothingToHold(service: string): CodedError {
  return ofService(
    "NOTHING_TO_HOLD",
    service,
    `${service} has no generation that serves: new connections wait already. Nothing was changed; deploy a version.`,
  );
}

export function serviceHeld(service: string): CodedError {
  return ofService(
    "SERVICE_HELD",
    service,
    `${service} is held: new connections wait, and nothing was started. Resume it first.`,
  );
}

export function notHeld(service: string): CodedError {
  return ofService("NOT_HELD", service, `${service} is not held; nothing was changed.`);
}

export function nothingToScale(service: string): CodedError {
  return ofService(
    "NOTHING_TO_SCALE",
    service,
    `${service} has no generation that serves, so no number was changed. Deploy a version first.`,
  );
}

export function scaleInvalid(service: string, instances: number): CodedError {
  return ofService(
    "SCALE_INVALID",
    service,
    `${service} cannot run ${instances} instances: give a whole number from 1 on. To let new connections wait, hold it.`,
  );
}

function ofService(code: string, service: string, sentence: string): CodedError {
  return new CodedError(code, sentence, { details: { service } });
}

function generationOr(from: number | null): string {
  return from === null ? "no earlier generation" : `generation ${from}`;
}
