/** The API over an upgrade of the daemon: its sockets, tokens, certificates, figures and streams go on. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { get as getSecurely } from "node:https";
import { tmpdir } from "node:os";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { mintToken } from "../../admin-api/tokens.ts";
import { certificates } from "../admin-api/tcp.ts";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { lost, startLoad } from "../support/load.ts";
import { oneService } from "../support/one-service.ts";
import { eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";

const ci = mintToken({ name: "ci", role: "admin" });
const bearer = { authorization: `Bearer ${ci.token}` };

function temporaryFolder(): string {
  const folder = mkdtempSync(`${tmpdir()}/upgrade-api-`);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function privateFile(path: string, content: string): string {
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

function withApi(folder: string, http: Config = {}, metrics = "127.0.0.1:0"): Config {
  const tokens = privateFile(`${folder}/tokens`, `${ci.line}\n`);
  return {
    ...oneService(),
    admin: { http: { address: "127.0.0.1:0", tokens, ...http } },
    metrics: { address: metrics },
  };
}

/** Where an image of the daemon serves, as it has logged last. */
function addresses(daemon: Daemon): { readonly http: string; readonly metrics: string } {
  const line = daemon.log().findLast(({ msg }) => msg === "handoffd is up");
  return { http: String(line?.["http"]), metrics: String(line?.["metrics"]) };
}

/** The value of each counter and histogram: none may be lower later. */
async function figures(where: string): Promise<ReadonlyMap<string, number>> {
  const page = await (await fetch(`http://${where}/metrics`)).text();
  const lines = page
    .split("\n")
    .filter((line) => /^handoffd_\w+(?:_total|_count|_sum|_bucket)\b/u.test(line));
  return new Map(lines.map((line) => [line.replace(/ \S+$/u, ""), Number(line.split(" ").at(-1))]));
}

test(
  "clients of the unix socket, of TCP and of the metrics notice nothing of three upgrades, and nothing begins anew",
  { timeout: 90_000 },
  async () => {
    await using daemon = await startDaemon({ config: withApi(temporaryFolder()) });
    const where = addresses(daemon);
    await daemon.deploy("v1");
    const before = await figures(where.metrics);
    expect(
      before.get('handoffd_deploys_total{service="api",strategy="blue-green",result="succeeded"}'),
    ).toBeGreaterThan(0);
    const common = { mode: "new", connections: 2, rate: 50, timeoutMs: 20_000, lateMs: 15_000 } as const;
    await using local = startLoad({ ...common, target: `unix:${daemon.socket}`, path: "/healthz" });
    await using remote = startLoad({ ...common, target: where.http, path: "/healthz" });
    await using scraper = startLoad({ ...common, target: where.metrics, path: "/metrics" });
    const loads = [local, remote, scraper];
    await Promise.all(loads.map((load) => load.started));
    for (let times = 0; times < 3; times++) await daemon.upgrade();
    const reports = await Promise.all(loads.map((load) => load.stop()));
    expect(reports.map((report) => ({ ...lost(report), badStatus: report.badStatus }))).toEqual(
      loads.map(() => ({ ...NOTHING, badStatus: 0 })),
    );
    expect(addresses(daemon)).toEqual(where);
    const after = await figures(where.metrics);
    expect([...before].filter(([name, value]) => (after.get(name) ?? -1) < value)).toEqual([]);
    const statuses = [ci.token, mintToken({ name: "ci", role: "admin" }).token].map(async (token) => {
      const answer = await fetch(`http://${where.http}/v1/status`, {
        headers: { authorization: `Bearer ${token}` },
      });
      return answer.status;
    });
    expect(await Promise.all(statuses)).toEqual([200, 401]);
  },
);

/** Before its first line, the new image of an upgrade waits while FOLDER/window is there. */
const WINDOW = `
  import { existsSync, writeFileSync } from "node:fs";
  const window = new URL("window", import.meta.url);
  if (process.env.HANDOFFD_UPGRADE !== undefined) {
    writeFileSync(new URL("entered", import.meta.url), "");
    while (existsSync(window)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
`;

test(
  "who connects while no image of the daemon runs waits, with TLS too, and is answered by the new one",
  { timeout: 60_000 },
  async () => {
    const folder = temporaryFolder();
    const { cert, key, ca } = await certificates();
    const tls = { cert: `${folder}/cert.pem`, key: privateFile(`${folder}/key.pem`, key) };
    writeFileSync(tls.cert, cert);
    writeFileSync(`${folder}/window.mjs`, WINDOW);
    const environment = { NODE_OPTIONS: `--import=${folder}/window.mjs` };
    await using daemon = await startDaemon({ config: withApi(folder, { tls }), environment });
    const where = addresses(daemon);
    writeFileSync(`${folder}/window`, "");
    expect((await daemon.api("POST", "/v1/upgrade")).status).toBe(202);
    await eventually("the window", () => existsSync(`${folder}/entered`));
    const answers = [
      answerOf((seen) =>
        getSecurely(`https://${where.http}/v1/status`, { ca, headers: bearer, agent: false }, seen),
      ),
      answerOf((seen) => get({ socketPath: daemon.socket, path: "/v1/status", agent: false }, seen)),
      answerOf((seen) => get(`http://${where.metrics}/metrics`, { agent: false }, seen)),
    ];
    for (const address of [where.http, where.metrics])
      await eventually(`one that waits at ${address}`, () => waitingAt(address) === 1);
    rmSync(`${folder}/window`);
    const [secure, local, metrics] = await Promise.all(answers);
    for (const answer of [secure, local])
      expect(JSON.parse(answer?.body ?? "")).toMatchObject({ upgrades: 1, pid: daemon.pid });
    expect(metrics).toMatchObject({
      status: 200,
      body: expect.stringContaining("handoffd_upgrades_total") as string,
    });
  },
);

/** The length of the accept queue: the rx_queue of a listening socket (tcp_diag_get_info, and /proc/net/tcp likewise). */
function waitingAt(address: string): number {
  const port = Number(address.split(":").at(-1)).toString(16).toUpperCase().padStart(4, "0");
  const listening = new RegExp(`^ *\\d+: 0100007F:${port} 00000000:0000 0A \\w+:(\\w+)`, "mu");
  return parseInt(listening.exec(readFileSync("/proc/net/tcp", "utf8"))?.[1] ?? "0", 16);
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

function answerOf(
  ask: (seen: (response: IncomingMessage) => void) => ReturnType<typeof get>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = ask((response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    request.once("error", reject);
  });
}

test(
  "a stream of events by TCP ends with the old image and goes on with the new one where it was",
  { timeout: 60_000 },
  async () => {
    await using daemon = await startDaemon({ config: withApi(temporaryFolder()) });
    const { http } = addresses(daemon);
    const follow = async (headers: Readonly<Record<string, string>>) => {
      const answer = await fetch(`http://${http}/v1/events`, { headers: { ...bearer, ...headers } });
      if (answer.body === null) throw new Error("no stream");
      return answer.body.pipeThrough(new TextDecoderStream());
    };
    let seen = "";
    const until = async (stream: ReadableStream<string>, what: string | null): Promise<void> => {
      for await (const chunk of stream.values({ preventCancel: true })) {
        seen += chunk;
        if (what !== null && seen.includes(what)) return;
      }
      if (what !== null) throw new Error(`the stream ended without ${what}: ${seen}`);
    };
    const first = await follow({ "last-event-id": "0" });
    await daemon.deploy("v1");
    await until(first, "succeeded");
    await daemon.upgrade();
    await until(first, null);
    const ids = (): number[] => [...seen.matchAll(/^id: (\d+)$/gmu)].map(([, id]) => Number(id));
    const second = await follow({ "last-event-id": String(ids().at(-1)) });
    await daemon.deploy("v2");
    await until(second, "api-3: succeeded");
    await second.cancel();
    expect(seen).toContain("event: daemon.upgraded");
    expect(seen).not.toContain("event: gap");
    expect(ids()).toEqual(ids().map((_, index) => index + (ids()[0] ?? 0)));
  },
);

test("another address of the API or of the metrics than the one that is open is refused, in words", async () => {
  const folder = temporaryFolder();
  await using daemon = await startDaemon({ config: withApi(folder) });
  const where = addresses(daemon);
  const moved = {
    "admin.http.address": withApi(folder, { address: "127.0.0.1:1" }),
    "metrics.address": withApi(folder, {}, "127.0.0.1:1"),
  };
  for (const [what, config] of Object.entries(moved)) {
    daemon.configure(config);
    const { status, json } = await daemon.api("POST", "/v1/upgrade");
    expect({ status, json }).toMatchObject({
      status: 500,
      json: {
        code: "UPGRADE_REFUSED",
        detail: expect.stringContaining(`${what} (127.0.0.1:0 here, 127.0.0.1:1 in the file)`) as string,
      },
    });
  }
  expect((await fetch(`http://${where.http}/v1/status`, { headers: bearer })).status).toBe(200);
  daemon.configure(withApi(folder));
  await daemon.upgrade();
});
