/**
 * The proof of a candidate before any user meets it: it accepts on our sockets, then the configured steps in order, real
 * requests from its pin address through the real listener, and commands as the service's user.
 */
import { messageOf } from "../../handoff/coded-error.ts";
import type { LaunchSpecification } from "../../handoff/launch.ts";
import type { Listener, ProbeTarget } from "../../handoff/listener.ts";
import type { Slot } from "../../handoff/slot.ts";
import { type Candidate, proveAccepting } from "./acceptance.ts";
import { quote, runCommand } from "./command.ts";
import type { VerifyConfig } from "../config/config.ts";
import { verificationFailed } from "../errors.ts";
import { probeHttp } from "./probe.ts";

/** How long a generation that said it is ready has for its first accept, at most. */
export const ACCEPT_MS = 10_000;

export interface Placement {
  readonly listener: Listener;
  readonly slot: Slot;
}

export interface VerificationPlan {
  readonly candidate: Candidate;
  readonly placements: readonly Placement[];
  readonly steps: readonly VerifyConfig[];
  readonly acceptMs: number;
  readonly devNull: number;
  readonly commandSpecification: (
    command: readonly string[],
    extra: Readonly<Record<string, string>>,
  ) => LaunchSpecification;
}

/** Returns when everything has passed. Throws a CodedError that says which step failed and why. */
export async function verify(plan: VerificationPlan, signal: AbortSignal): Promise<void> {
  const pins = plan.placements.map(({ listener }) => listener.honourPins());
  try {
    await verifyEach(plan, signal);
  } finally {
    for (const pin of pins) pin[Symbol.dispose]();
  }
}

async function verifyEach(plan: VerificationPlan, signal: AbortSignal): Promise<void> {
  for (const { listener, slot } of plan.placements) {
    listener.assertAlone();
    const deadline = performance.now() + plan.acceptMs;
    await proveAccepting(listener, slot, plan.candidate, () => deadline, signal);
  }
  for (const step of plan.steps) {
    if (step.kind === "http") await verifyHttp(plan, step, signal);
    else await verifyCommand(plan, step, signal);
  }
  // Again at the end: whoever joined meanwhile would get users with the next change of the weights.
  for (const { listener } of plan.placements) listener.assertAlone();
}

async function verifyHttp(
  plan: VerificationPlan,
  step: Extract<VerifyConfig, { kind: "http" }>,
  signal: AbortSignal,
): Promise<void> {
  const placement = plan.placements.find(({ listener }) => listener.name === step.listener);
  if (placement === undefined) throw new Error(`no slot on listener ${step.listener}`);
  const target = placement.listener.probe(placement.slot);
  const what = `GET ${step.path} on listener ${step.listener}`;
  const deadline = performance.now() + step.timeoutMs;
  for (let request = 1; request <= step.count; request++) {
    let status: number;
    try {
      status = await probeHttp(target, step.path, Math.round(deadline - performance.now()), signal);
    } catch (error) {
      signal.throwIfAborted();
      const timed = performance.now() >= deadline;
      throw verificationFailed(
        what,
        timed
          ? `no answer within ${step.timeoutMs} ms (request ${request} of ${step.count})`
          : `${messageOf(error)} (request ${request} of ${step.count})`,
      );
    }
    if (status !== step.expect) {
      throw verificationFailed(
        what,
        `answered ${status} instead of ${step.expect} (request ${request} of ${step.count})`,
      );
    }
  }
}

async function verifyCommand(
  plan: VerificationPlan,
  step: Extract<VerifyConfig, { kind: "command" }>,
  signal: AbortSignal,
): Promise<void> {
  const what = `the command ${step.command.join(" ")}`;
  const specification = () => plan.commandSpecification(step.command, probeVariables(plan));
  const { devNull } = plan;
  const end = await runCommand({ specification, devNull, timeoutMs: step.timeoutMs }, signal);
  switch (end.kind) {
    case "not-run":
      throw verificationFailed(what, end.because);
    case "late":
      throw verificationFailed(what, `was not done within ${step.timeoutMs} ms${quote(end.said)}`);
    case "exited": {
      if (end.code === 0) return;
      const how = end.code === null ? `signal ${String(end.signal)}` : `status ${end.code}`;
      throw verificationFailed(what, `ended with ${how}${quote(end.said)}`);
    }
  }
}

function probeVariables(plan: VerificationPlan): Record<string, string> {
  const first = plan.placements[0];
  if (first === undefined) return {};
  const target = first.listener.probe(first.slot);
  return { HANDOFF_PROBE_ADDRESS: addressOf(target), HANDOFF_PROBE_SOURCE: sourceOf(target) };
}

function addressOf(target: ProbeTarget): string {
  if (target.kind === "unix") return `unix:${target.path.replace("\0", "@")}`;
  return target.host.includes(":") ? `[${target.host}]:${target.port}` : `${target.host}:${target.port}`;
}

function sourceOf(target: ProbeTarget): string {
  if (target.kind === "unix") return "";
  const [port] = target.sourcePorts;
  return port === undefined ? target.source : `[${target.source}]:${port}`;
}
