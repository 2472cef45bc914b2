/** A configuration without a file: `handoffd run --listen web=tcp:127.0.0.1:8080 -- node server.js`. */
import type { Config } from "./config.ts";
import { configFrom, type LoadOptions } from "./load.ts";
import { Report, throwIfWrong, type Source } from "./problem.ts";

export interface Arguments {
  /** `NAME=ADDRESS` each; without a name it is "main", and only one can be so. */
  readonly listen: readonly string[];
  /** What stands behind `--`. */
  readonly command: readonly string[];
  /** The private directory of this run, for sockets and state; the environment's directories win over it. */
  readonly runtime?: string;
  readonly state?: string;
  readonly instances?: number;
  /** What proves that an instance is ready: the `ready` section, as in a file. */
  readonly ready?: unknown;
  readonly logLevel?: string;
}

const ARGUMENTS_SERVICE = "app";

const source: Source = { name: "arguments", locate: () => null, written: () => null };

/**
 * One service, `app`, that serves all the listeners in the given order.
 *
 * @throws CodedError CONFIG_INVALID, as for a file
 */
export function configFromArguments(given: Arguments, options: LoadOptions): Config {
  const report = new Report();
  if (given.command.length === 0) {
    report.wrong(
      [],
      "there is no command; there would be nothing to run; write it behind --, as in -- node server.js",
    );
  }
  const listeners: [string, { readonly address: string }][] = [];
  for (const text of given.listen) {
    const { name, address } = split(text);
    if (listeners.some(([other]) => other === name)) {
      report.wrong(
        [],
        `--listen ${text}: the name "${name}" is used twice; names tell listeners apart; write --listen NAME=ADDRESS`,
      );
    }
    listeners.push([name, { address }]);
  }
  throwIfWrong(report, source);
  const { runtime, state, instances, ready, logLevel } = given;
  const value = {
    listeners: Object.fromEntries(listeners),
    services: {
      [ARGUMENTS_SERVICE]: {
        command: [...given.command],
        listeners: listeners.map(([name]) => name),
        ...(instances === undefined ? {} : { instances }),
        ...(ready === undefined ? {} : { ready }),
      },
    },
    paths: { ...(runtime === undefined ? {} : { runtime }), ...(state === undefined ? {} : { state }) },
    ...(logLevel === undefined ? {} : { log: { level: logLevel } }),
  };
  return configFrom(value, source, null, options);
}

function split(text: string): { readonly name: string; readonly address: string } {
  const at = text.indexOf("=");
  return at < 0 ? { name: "main", address: text } : { name: text.slice(0, at), address: text.slice(at + 1) };
}
