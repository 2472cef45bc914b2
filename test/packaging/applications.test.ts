/** docs/applications.md, compared with what it speaks of: the examples, and what was measured. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { root } from "../support/paths.ts";
import { SERVER_NAMES, type ServerName, serverOf } from "../support/server-table.ts";
import { exampleOf, folderOf, type Outcome, type Seen } from "../support/servers.ts";

interface Row {
  readonly command: string;
  readonly takes: string;
  readonly signal: string;
  readonly lost: string;
  readonly byItself: string;
}

const page = readFileSync(`${root}/docs/applications.md`, "utf8");

/** The rows of the page's table, by the server's name. */
const rows = new Map(
  [...page.matchAll(/^\| \[([a-z-]+)\]\(#\1\) +\|(.*)\|$/gm)].map(([, name = "", rest = ""]) => {
    const [command = "", takes = "", signal = "", lost = "", byItself = ""] = rest
      .split("|")
      .map((cell) => cell.trim());
    return [name, { command: command.replaceAll("`", ""), takes, signal, lost, byItself } satisfies Row];
  }),
);

function rowOf(name: ServerName): Row {
  const row = rows.get(name);
  if (row === undefined) throw new Error(`the page's table has no row for ${name}`);
  return row;
}

/** The service that is deployed. */
function serviceOf(name: ServerName) {
  const service = exampleOf(name).services[serverOf(name).service];
  if (service === undefined) throw new Error(`the example of ${name} has no such service`);
  return service;
}

/** As it would be typed in the example's own folder. */
function typed(name: ServerName): string {
  return serviceOf(name)
    .command.map((word) => word.replace(`${folderOf(name)}/`, "").replace(folderOf(name), "."))
    .map((word) => word.replace(`/tmp/handoffd-${name}`, "."))
    .map((word) => (/[ ;]/.test(word) ? `'${word}'` : word))
    .join(" ");
}

describe("the page about applications", () => {
  it("has a row, and the checkout an example, for each server that the tests deploy", () => {
    expect([...rows.keys()]).toEqual(SERVER_NAMES);
    expect(readdirSync(`${root}/examples/servers`).sort()).toEqual([...SERVER_NAMES].sort());
  });

  it.each(SERVER_NAMES)(
    "shows the command of %s, its signal and its variables as the example has them",
    (name) => {
      const { environment = {}, drain } = serviceOf(name);
      const { command, takes, signal } = rowOf(name);
      expect(command).toBe(typed(name));
      expect(signal).toBe(drain?.signal);
      for (const [variable, value] of Object.entries(environment)) {
        expect(takes).toContain(`\`${variable}="${value}"\``);
      }
    },
  );

  it("says what was measured, and nothing else", () => {
    const measured = JSON.parse(readFileSync(`${root}/bench/results/servers.json`, "utf8")) as {
      readonly quick: boolean;
      readonly result: {
        readonly ok: boolean;
        readonly clients: number;
        readonly servers: Readonly<
          Record<string, { readonly example: Outcome; readonly plain: Outcome | null }>
        >;
      };
    };
    expect(measured).toMatchObject({ quick: false, result: { ok: true } });
    const { servers, clients } = measured.result;
    expect(page).toContain(`${clients} clients`);
    expect(Object.keys(servers).sort()).toEqual([...SERVER_NAMES].sort());
    for (const name of SERVER_NAMES) {
      const { lost, byItself } = rowOf(name);
      const { example, plain } = servers[name] ?? { example: null, plain: null };
      expect({ name, lost, byItself }).toEqual({ name, lost: said(example), byItself: said(plain) });
      expect({
        name,
        fresh: [example, plain].map((each) => (each === null ? 0 : lostOf(each.fresh))),
      }).toEqual({
        name,
        fresh: [0, 0],
      });
    }
  });
});

function said(outcome: Outcome | null): string {
  return outcome === null ? "" : `${lostOf(outcome.kept)} in ${outcome.deploys}`;
}

function lostOf({ refused, reset, cut, late, badStatus }: Seen): number {
  return refused + reset + cut + late + badStatus;
}
