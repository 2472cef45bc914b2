// What a look at the metrics costs, with few listeners and with many.
import { disposing } from "./support/child.mjs";
import { startDaemon } from "./support/daemon.mjs";
import { ratio, row, takeTurns } from "./support/figures.mjs";

export const title = "GET /metrics, from the request to its last byte";

/** Ten times as many, and a fifth for what grows with the host rather than with them. */
const GOAL_RATIO = 12;

export function run(options) {
  return disposing((own) => measure(options, own));
}

async function measure({ quick }, own) {
  const [few, many] = quick ? [10, 100] : [100, 1_000];
  const daemons = {
    one: own(await startDaemon()),
    few: own(await startDaemon({ more: few - 1 })),
    many: own(await startDaemon({ more: many - 1 })),
    unix: own(await startDaemon({ more: many - 1, kind: "unix" })),
  };
  // The first ones are compiled while they run.
  for (const daemon of Object.values(daemons)) await scrape(daemon, 5);
  const sides = Object.entries(daemons).map(([name, daemon]) => [name, () => scrape(daemon, 5)]);
  const times = await takeTurns(quick ? 3 : 20, Object.fromEntries(sides));
  return [
    row("1 listener", "ms", times.one.flat()),
    row(`${few} listeners`, "ms", times.few.flat()),
    row(`${many} listeners`, "ms", times.many.flat(), {
      ratio: ratio(times.many, times.few),
      of: `${few} listeners`,
      goalRatio: GOAL_RATIO,
    }),
    row(`${many} listeners, unix`, "ms", times.unix.flat(), {
      ratio: ratio(times.unix, times.many),
      of: "tcp",
    }),
  ];
}

async function scrape(daemon, times) {
  const samples = [];
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    const { status, text } = await daemon.api("GET", "/metrics");
    samples.push(performance.now() - began);
    if (status !== 200 || !text.includes("handoffd_build_info")) throw new Error(`no metrics: ${status}`);
  }
  return samples;
}
