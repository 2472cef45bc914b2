/** Why a generation did not come to serve, or took long. Pure. */
import type { Deploy } from "../../admin-api/schemas.ts";
import { durationOf } from "./attribution.ts";
import { type Finding, finding } from "./findings.ts";
import type { Observations, SocketUse } from "./observations.ts";

const NOT_READY = new Set(["DEPLOY_READY_TIMEOUT", "DEPLOY_CANDIDATE_FAILED", "DEPLOY_CANDIDATE_EXITED"]);
/** Why a generation fails by its application. Everything else is the host's fault, or handoffd's. */
const OF_THE_APPLICATION = new Set([
  "INSTANCE_EXITED",
  "LAUNCH_FAILED",
  "READY_TIMEOUT",
  "GENERATION_NOT_ACCEPTING",
]);
const NOT_VERIFIED = new Set(["DEPLOY_VERIFY_FAILED", "DEPLOY_VERIFY_TIMEOUT"]);

/** What an application says that binds an address which somebody else has; errno(3), and libraries' words for it. */
const ADDRESS_TAKEN = /EADDRINUSE|address already in use/iu;
/** What one says that is told to listen on a descriptor which it has not. */
const DESCRIPTOR_LOST = /\b(EBADF|ENOTSOCK|EINVAL)\b|bad file descriptor|Unsupported fd type/iu;

/** The finding of the deploy that did not succeed; null when all have. */
export function failedDeploy(observations: Observations): Finding | null {
  const failed = [observations.start, ...observations.deploys].find(({ phase }) => phase !== "succeeded");
  if (failed === undefined) return null;
  const { code = "", message = failed.phase } = failed.reason ?? {};
  const use = observations.sockets.find(({ generation }) => generation === failed.to) ?? null;
  const isNotReady = NOT_READY.has(code) && isOfTheApplication(failed, observations);
  const isNotVerified = NOT_VERIFIED.has(code);
  const bySockets = isNotReady || isNotVerified ? elsewhere(use) : null;
  if (bySockets !== null) return bySockets;
  if (isNotReady) return notReady(failed, use, observations);
  return finding(isNotVerified ? "fails-verification" : "deploy-failed", message);
}

function isOfTheApplication({ to, reason }: Deploy, { events }: Observations): boolean {
  if (reason?.code !== "DEPLOY_CANDIDATE_FAILED") return true;
  const why = events.findLast(({ type, generation }) => type === "generation.failure" && generation === to);
  return why?.code === undefined || OF_THE_APPLICATION.has(why.code);
}

function elsewhere(use: SocketUse | null): Finding | null {
  if (use?.childWithout != null) {
    const also = use.elsewhere === null ? "" : `, and listens on ${use.elsewhere} by itself`;
    return finding("loses-descriptors", `its child ${use.childWithout} has not the socket${also}`);
  }
  if (use === null || use.elsewhere === null) return null;
  return finding(
    "binds-own-port",
    `it listens on ${use.elsewhere} by itself, and accepts nothing from its listener`,
  );
}

function notReady({ reason }: Deploy, use: SocketUse | null, { output, readyBy }: Observations): Finding {
  const message = reason?.message ?? "it was not ready";
  const said = (pattern: RegExp): string | null => output.findLast((line) => pattern.test(line)) ?? null;
  const taken = said(ADDRESS_TAKEN);
  if (taken !== null) return finding("binds-own-port", `it wrote: ${taken}`);
  if (reason?.code !== "DEPLOY_READY_TIMEOUT") {
    const lost = said(DESCRIPTOR_LOST);
    return lost === null
      ? finding("does-not-start", message)
      : finding("loses-descriptors", `it wrote: ${lost}`);
  }
  const accepts = readyBy === "listening" ? "ignores-listen-fds" : "never-ready";
  return finding(use?.hasOurs === false ? "ignores-listen-fds" : accepts, message);
}

/** From the start of the first process until all were ready. */
export function slowToBeReady({ start, deploys, readyWithinMs }: Observations): Finding | null {
  const ready = [start, ...deploys].filter(({ phase }) => phase === "succeeded");
  const took = ready.flatMap((deploy) => durationOf(deploy, "starting") ?? []);
  const slowest = Math.max(0, ...took);
  if (slowest <= readyWithinMs) return null;
  return finding(
    "slow-to-be-ready",
    `it took up to ${slowest / 1000} s, and ${readyWithinMs / 1000} s are allowed`,
  );
}
