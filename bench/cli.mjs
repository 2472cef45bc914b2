// What a person waits for: `handoffctl status` from start to exit, beside a Node that does nothing.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import process from "node:process";
import { disposing } from "./support/child.mjs";
import { startDaemon } from "./support/daemon.mjs";
import { ratio, row, takeTurns } from "./support/figures.mjs";
import { root } from "./support/product.mjs";

export const title = "handoffctl status, from its start to its exit";

export function run(options) {
  return disposing((own) => measure(options, own));
}

async function measure({ quick }, own) {
  const daemon = own(await startDaemon());
  const status = [join(root, "bin/handoffctl"), "--socket", daemon.socket, "status"];
  const times = await takeTurns(quick ? 3 : 20, {
    status: async () => [await timed(status)],
    nothing: async () => [await timed(["-e", "0"])],
  });
  return [
    row("handoffctl status", "ms", times.status.flat(), {
      ratio: ratio(times.status, times.nothing),
      of: "node -e 0",
    }),
    row("node -e 0", "ms", times.nothing.flat()),
  ];
}

async function timed(args) {
  const began = performance.now();
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  const [code] = await once(child, "exit");
  const took = performance.now() - began;
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}`);
  return took;
}
