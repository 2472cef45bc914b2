// What a deploy costs by itself: all of the time between the request and the first user on the new generation that
// is not the application's own start.
//
//   request sent ──▶ main() of the application ┄┄ its own start ┄┄▶ it listens ──▶ its first answer to a user
//   └──────── counted ────────────────────────┘                    └──────────── counted ─────────────────┘
//
// The request is timed by the client, before it is sent; main() and "listens" by the application (bench/c/
// application.c), the first answer by a client that connects without a pause (bench/c/visitor.c): all on the same
// CLOCK_REALTIME. The parts in between come from the deploy's phases in the API, which are whole milliseconds.
import { setTimeout as delay } from "node:timers/promises";
import { disposing, start } from "./support/child.mjs";
import { program } from "./support/compile.mjs";
import { startDaemon, wallMs } from "./support/daemon.mjs";
import { row } from "./support/figures.mjs";

export const title =
  "a deploy's own cost, from the request to the first user, without the application's start";

const ENDED = ["succeeded", "failed", "rolled-back", "aborted"];
const LOOK_MS = 20;
const DEADLINE_MS = 20_000;

export function run(options) {
  return disposing((own) => measure(options, own));
}

async function measure({ quick }, own) {
  const daemon = own(await startDaemon());
  const visitor = start(program("visitor"), [String(daemon.port)]);
  own({ [Symbol.asyncDispose]: () => visitor.end() });
  await visitor.line(); // The generation that was there first.
  const deploys = [];
  for (let i = quick ? 3 : 21; i > 0; i--) {
    await delay(100); // What the one before has left to do: its processes are gone, its log is written.
    deploys.push(await deployOnce(daemon, visitor));
  }
  deploys.shift(); // It opened the second slot, which those after it use again.
  visitor.child.kill("SIGTERM");
  const [, requests, failed] = (await visitor.line()).split(" ").map(Number);
  if (failed > 0) throw new Error(`${failed} of ${requests} requests failed`);
  const part = (name, from, to, more) =>
    row(
      name,
      "ms",
      deploys.map((times) => times[to] - times[from]),
      more,
    );
  return [
    row(
      "own cost",
      "ms",
      deploys.map(({ sent, began, listening, answered }) => began - sent + (answered - listening)),
      { goal: 15 },
    ),
    part("· request sent → application's main()", "sent", "began"),
    part("· · request sent → 202 read by the client", "sent", "accepted"),
    part("· · deploy's startedAt → main()", "startedAt", "began"),
    part("· application listens → first answer to a user", "listening", "answered"),
    part("· · listens → ready (phase starting ends)", "listening", "verifying"),
    part("· · phase verifying", "verifying", "shifting"),
    part("· · phase shifting begins → first answer", "shifting", "answered"),
    part("the application's own start (not counted)", "began", "listening"),
    part("request sent → first answer to a user (all)", "sent", "answered"),
  ];
}

async function deployOnce(daemon, visitor) {
  const sent = wallMs();
  const { status, answeredAt, json } = await daemon.api("POST", "/v1/services/api/deploys", {});
  if (status !== 202) throw new Error(`the deploy was not accepted: ${status} ${JSON.stringify(json)}`);
  const [generation, nanoseconds] = (await visitor.line()).split(" ").map(Number);
  if (generation !== json.to) throw new Error(`generation ${generation} answered instead of ${json.to}`);
  const deploy = await ended(daemon, json.id);
  const phases = Object.fromEntries(
    deploy.phases.map(({ phase, startedAt }) => [phase, Date.parse(startedAt)]),
  );
  return {
    ...phases,
    ...daemon.recorded().get(generation),
    sent,
    accepted: answeredAt,
    startedAt: Date.parse(deploy.startedAt),
    answered: nanoseconds / 1e6,
  };
}

async function ended(daemon, id) {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const { json } = await daemon.api("GET", `/v1/deploys/${id}`);
    if (json.phase === "succeeded") return json;
    if (ENDED.includes(json.phase) || performance.now() > deadline) {
      throw new Error(`deploy ${id} is ${json.phase}: ${JSON.stringify(json.reason)}`);
    }
    await delay(LOOK_MS);
  }
}
