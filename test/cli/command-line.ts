/** The command line as users have it: bin/, on what `npm run build` has made. */
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";

import { environment, start, type Exit, type Process } from "../support/processes.ts";
import { root } from "../support/paths.ts";

export interface Ended extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly process: Process;
  /** Resolves to the first line on either stream, from now on or before, that contains `text`. */
  readonly line: (text: string) => Promise<string>;
  readonly ended: Promise<Ended>;
}

/** Starts `handoffctl` or `handoffd`. `socket` becomes HANDOFFD_SOCKET; `extra` is added to the environment. */
export function command(
  program: "handoffctl" | "handoffd",
  args: readonly string[],
  socket?: string,
  extra: Readonly<Record<string, string>> = {},
): Running {
  if (!existsSync(`${root}/dist/cli/${program}.js`))
    throw new Error("npm run build comes before these tests");
  const env = environment({ ...extra, ...(socket !== undefined && { HANDOFFD_SOCKET: socket }) });
  const process = start(`${root}/bin/${program}`, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const collected = (["stdout", "stderr"] as const).map(async (name) => {
    const stream = process.child[name];
    if (stream === null) throw new Error("stdio is piped");
    let text = "";
    for await (const line of createInterface({ input: stream })) {
      text += `${line}\n`;
      lines.push(line);
      for (const look of waiting) look();
    }
    return text;
  });
  const ended = (async () => {
    const [stdout = "", stderr = ""] = await Promise.all(collected);
    return { ...(await process.exit), stdout, stderr };
  })();
  const line = async (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = lines.find((candidate) => candidate.includes(text));
        if (found === undefined) return;
        waiting.delete(look);
        resolve(found);
      };
      waiting.add(look);
      look();
      void ended.then(({ stdout, stderr }) =>
        reject(new Error(`ended without "${text}":\n${stdout}${stderr}`)),
      );
    });
  return { process, line, ended };
}

export async function handoffctl(socket: string, ...args: readonly string[]): Promise<Ended> {
  return command("handoffctl", args, socket).ended;
}
