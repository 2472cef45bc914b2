/** From what was seen to what is wrong with the application. Pure: the same observations, the same verdict. */
import type { Deploy } from "../../admin-api/schemas.ts";
import { endingSince, type Moment, momentOf } from "./attribution.ts";
import { failedDeploy, slowToBeReady } from "./judgement-start.ts";
import { type Finding, finding } from "./findings.ts";
import type { IdleClose, Loss, Observations } from "./observations.ts";

export interface PlacedLoss extends Loss, Moment {}

/** Polite is to let kept connections rest for two seconds: so many milliseconds after the drain began none has to be closed. */
const AT_ONCE_MS = 1_500;
/** Of an exit that nobody asked for, what was lost so long before or after it. */
const AROUND_EXIT_MS = 1_000;
/** A batch of requests that leaves fewer descriptors than one in ten leaks none. */
const LEAK_SHARE = 0.1;

/** What was found, the cause of most losses first. Each loss is explained by one finding. */
export function judge(observations: Observations): readonly Finding[] {
  const left = new Set(place(observations));
  const found = [
    failedDeploy(observations),
    ...LOSS_RULES.map((rule) => rule(observations, left)),
    slowToBeReady(observations),
    leaksDescriptors(observations),
  ].filter((each) => each !== null);
  if (left.size > 0) found.push(finding("unexplained-loss", kindsOf([...left]), left.size));
  return found.sort((one, other) => other.lost - one.lost);
}

/** Each loss with its moment. */
export function place({ losses, deploys }: Observations): readonly PlacedLoss[] {
  return losses.map((loss) => ({ ...loss, ...momentOf(loss.at, loss.openedAt, deploys) }));
}

/** Takes out of `left` what it explains. */
type LossRule = (observations: Observations, left: Set<PlacedLoss>) => Finding | null;

/** The surer a cause is, the earlier it is asked. */
const LOSS_RULES: readonly LossRule[] = [
  answersOtherwise,
  unlinksSocket,
  exitsByItself,
  leavesChildren,
  doesNotEnd,
  leavesQueue,
  closesIdleConnections,
  exitsWithRequests,
];

function take(left: Set<PlacedLoss>, is: (loss: PlacedLoss) => boolean): number {
  const taken = [...left].filter(is);
  for (const loss of taken) left.delete(loss);
  return taken.length;
}

function isOldOnesEnd({ isEnding, side }: Moment): boolean {
  return isEnding && side !== "new";
}

function answersOtherwise({ listeners }: Observations, left: Set<PlacedLoss>): Finding | null {
  const others = [...left].filter(({ kind }) => kind === "status").map(({ code }) => code ?? "?");
  const lost = take(left, ({ kind }) => kind === "status");
  if (lost === 0) return null;
  const usual = listeners.flatMap(({ status }) => status ?? []).join(", ");
  return finding("answers-otherwise", `${counted(others)} instead of ${usual}`, lost);
}

function unlinksSocket({ missingPaths }: Observations, left: Set<PlacedLoss>): Finding | null {
  const isGone = ({ code }: PlacedLoss): boolean => code === "ENOENT";
  const lost = take(left, isGone);
  if (missingPaths.length === 0 && lost === 0) return null;
  const paths = missingPaths.length === 0 ? "the path" : missingPaths.join(", ");
  return finding("unlinks-socket", `${paths} was gone while the service ran`, lost);
}

function exitsByItself(observations: Observations, left: Set<PlacedLoss>): Finding | null {
  const exits = observations.events.filter(
    ({ type, at, generation }) =>
      type === "instance.exited" && !isExpected(Date.parse(at), generation ?? 0, observations),
  );
  if (exits.length === 0) return null;
  const instants = exits.map(({ at }) => Date.parse(at));
  const lost = take(
    left,
    ({ at, kind }) => kind !== "late" && instants.some((instant) => Math.abs(at - instant) <= AROUND_EXIT_MS),
  );
  return finding("exits-by-itself", `${exits[0]?.message ?? ""}${more(exits.length)}`, lost);
}

/** A generation that is replaced is told to end; one that never served is its deploy's failure. */
function isExpected(at: number, generation: number, { start, deploys }: Observations): boolean {
  return [start, ...deploys].some((deploy) => {
    if (deploy.to === generation) return deploy.phase !== "succeeded";
    return deploy.from === generation && (endingSince(deploy) ?? Infinity) <= at;
  });
}

function leavesChildren(
  { leftovers, retirements, events, deploys }: Observations,
  left: Set<PlacedLoss>,
): Finding | null {
  const killed = retirements.filter(({ childrenOnly }) => childrenOnly).map(({ generation }) => generation);
  const held = events.filter(({ code }) => code === "SLOT_HELD").map(({ message }) => message);
  const ranOn = leftovers.map(({ pid, command, generation }) => `pid ${pid} (${command}) of ${generation}`);
  const seen = [
    ...(ranOn.length === 0
      ? []
      : [`after their generation there ran on ${ranOn.slice(0, 3).join(", ")}${more(ranOn.length - 2)}`]),
    ...(killed.length === 0 ? [] : [`of ${generationsOf(killed)} only children were left, and were killed`]),
    ...held.slice(0, 1),
  ];
  if (seen.length === 0) return null;
  const lost = take(left, (loss) => isOldOnesEnd(loss) && isOf(loss, killed, deploys));
  return finding("leaves-children", seen.join("; "), lost);
}

function doesNotEnd(
  { retirements, deploys, drainTimeoutMs }: Observations,
  left: Set<PlacedLoss>,
): Finding | null {
  const generations = retirements
    .filter(({ childrenOnly }) => !childrenOnly)
    .map(({ generation }) => generation);
  if (generations.length === 0) return null;
  const lost = take(left, (loss) => isOldOnesEnd(loss) && isOf(loss, generations, deploys));
  return finding(
    "does-not-end",
    `${generationsOf(generations)} ran for ${drainTimeoutMs / 1000} s after the signal`,
    lost,
  );
}

/** Whether the loss was in the deploy that replaced one of the generations. */
function isOf({ deploy }: PlacedLoss, generations: readonly number[], deploys: readonly Deploy[]): boolean {
  const from = deploys[(deploy ?? 0) - 1]?.from;
  return from != null && generations.includes(from);
}

function leavesQueue({ events }: Observations, left: Set<PlacedLoss>): Finding | null {
  const unsettled = events.filter(({ code }) => code === "DRAIN_UNSETTLED");
  if (unsettled.length === 0) return null;
  const lost = take(left, (loss) => isOldOnesEnd(loss) && loss.kind !== "reuse" && loss.kind !== "cut");
  return finding("leaves-queue", `${unsettled[0]?.message ?? ""}${more(unsettled.length)}`, lost);
}

function closesIdleConnections({ idleCloses, deploys }: Observations, left: Set<PlacedLoss>): Finding | null {
  const closed = idleCloses.filter((close) => isClosedAtOnce(close, deploys)).length;
  const lost = take(left, (loss) => isOldOnesEnd(loss) && loss.kind === "reuse");
  if (closed + lost === 0) return null;
  const seen = `${closed} resting connections were closed within ${AT_ONCE_MS / 1000} s of the beginning of a drain, and ${lost} requests were lost on kept ones`;
  return finding("closes-idle-connections", seen, lost);
}

/** Where instances end one after the other it is not known when one was told to. */
function isClosedAtOnce({ at, openedAt }: IdleClose, deploys: readonly Deploy[]): boolean {
  const moment = momentOf(at, openedAt, deploys);
  const deploy = deploys[(moment.deploy ?? 0) - 1];
  if (deploy === undefined || deploy.strategy === "rolling" || !isOldOnesEnd(moment)) return false;
  return at - (endingSince(deploy) ?? 0) < AT_ONCE_MS;
}

function exitsWithRequests(_observations: Observations, left: Set<PlacedLoss>): Finding | null {
  const kinds = new Set(["reset", "cut", "unanswered"]);
  const losses = [...left].filter((loss) => isOldOnesEnd(loss) && kinds.has(loss.kind));
  const lost = take(left, (loss) => losses.includes(loss));
  return lost === 0 ? null : finding("exits-with-requests", kindsOf(losses), lost);
}

function leaksDescriptors({ descriptors }: Observations): Finding | null {
  if (descriptors === null) return null;
  const { counts, requests } = descriptors;
  const steps = counts.slice(1).map((count, index) => count - (counts[index] ?? 0));
  if (steps.length === 0 || steps.some((step) => step < requests * LEAK_SHARE)) return null;
  return finding(
    "leaks-descriptors",
    `${counts.join(", then ")} descriptors at rest, ${requests} requests on each listener in between`,
  );
}

/** "12 cut, 3 reset". */
function kindsOf(losses: readonly Loss[]): string {
  return counted(losses.map(({ kind }) => kind));
}

function counted(words: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].map(([word, count]) => `${count} ${word}`).join(", ");
}

function generationsOf(numbers: readonly number[]): string {
  return `generation${numbers.length === 1 ? "" : "s"} ${numbers.join(", ")}`;
}

function more(count: number): string {
  return count > 1 ? `, and ${count - 1} more such` : "";
}
