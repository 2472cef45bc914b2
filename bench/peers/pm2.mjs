// PM2's own client as a process: each line of standard input is a method and its arguments as JSON, answered by a line when it has
// done. PM2_HOME says where its daemon lives. Argument: the folder that PM2 is installed in.
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

const pm2 = createRequire(join(process.argv[2], "x"))("pm2");

function call(method, ...args) {
  return new Promise((resolve) => {
    pm2[method](...args, (error) => resolve(error ? { error: String(error.message ?? error) } : {}));
  });
}

for await (const line of createInterface({ input: process.stdin }))
  console.log(JSON.stringify(await call(...JSON.parse(line))));
process.exit(0); // It keeps its connections otherwise.
