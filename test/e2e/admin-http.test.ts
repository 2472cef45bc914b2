/** The API by TCP of a real daemon: who is let in, what a pipeline does with it, and that no secret comes out. */
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";

import { createClient } from "@hey-api/openapi-ts";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { parse } from "yaml";

import { mintToken } from "../../admin-api/tokens.ts";
import { type Config, type Daemon, startDaemon } from "../support/daemon.ts";
import { oneService } from "../support/one-service.ts";
import { root } from "../support/paths.ts";
import { environment } from "../support/processes.ts";
import type { Deploy } from "../support/status.ts";

const bash = promisify(execFile);
const ci = mintToken({ name: "ci", role: "deploy", services: ["api"] });
const reader = mintToken({ name: "grafana", role: "read" });

/** With a tokens file in a folder that is there before the daemon is. */
function withHttp(tokens: string, more: Config = {}): Config {
  return {
    ...oneService(),
    admin: { http: { address: "127.0.0.1:0", tokens }, socket: { path: "{dir}/admin.sock" } },
    metrics: { address: "127.0.0.1:0" },
    ...more,
  };
}

function tokensFile(text: string, mode = 0o600): string {
  const folder = `/tmp/hd-tokens-${process.pid}`;
  mkdirSync(folder, { recursive: true });
  const file = `${folder}/tokens-${mode.toString(8)}`;
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

/** Where it serves, as its log says. */
function addresses(daemon: Daemon): { readonly http: string; readonly metrics: string } {
  const line = daemon.log().find(({ msg }) => msg === "handoffd is up");
  return { http: `http://${String(line?.["http"])}`, metrics: `http://${String(line?.["metrics"])}` };
}

describe("a daemon with tokens", () => {
  let daemon: Daemon;
  let url: { readonly http: string; readonly metrics: string };
  const file = tokensFile(`${ci.line}\n${reader.line}\n`);

  beforeAll(async () => {
    daemon = await startDaemon({ config: withHttp(file) });
    url = addresses(daemon);
  });
  afterAll(async () => daemon[Symbol.asyncDispose]());

  const shell = async (script: string, more: Readonly<Record<string, string>> = {}) =>
    bash("bash", ["-eo", "pipefail", "-c", script], {
      cwd: daemon.folder,
      env: environment({ HANDOFFD_URL: url.http, HANDOFFD_TOKEN: ci.token, ...more }),
      timeout: 60_000,
    });

  test("a client that someone else's generator has made of docs/openapi.json completes a deploy", async () => {
    const output = `${root}/build/generated-client`;
    // It has no use for client certificates, and says so many times.
    vi.spyOn(console, "warn").mockReturnValue(undefined);
    onTestFinished(() => void vi.restoreAllMocks());
    await createClient({
      input: `${root}/docs/openapi.json`,
      output,
      plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
      logs: { level: "silent" },
    });
    interface Options {
      readonly baseUrl: string;
      readonly auth: () => string;
      readonly path?: Readonly<Record<string, string>>;
      readonly body?: unknown;
      readonly query?: Readonly<Record<string, unknown>>;
    }
    type Call = (
      options: Options,
    ) => Promise<{ readonly data?: Deploy; readonly error?: { readonly code: string } }>;
    const sdk = (await import(`${output}/sdk.gen.ts`)) as Readonly<
      Record<"startDeploy" | "getDeploy" | "listDeploys", Call>
    >;
    const common = { baseUrl: url.http, auth: () => ci.token };
    const { data } = await sdk.startDeploy({
      ...common,
      path: { service: "api" },
      body: { version: "generated" },
    });
    let deploy = data;
    for (let asked = 0; deploy !== undefined && deploy.finishedAt === null; asked += 1) {
      expect(asked).toBeLessThan(100);
      deploy = (await sdk.getDeploy({ ...common, path: { id: deploy.id }, query: { wait: "20s" } })).data;
    }
    expect(deploy).toMatchObject({ phase: "succeeded", version: "generated", requestedBy: "ci" });
    const refused = await sdk.startDeploy({
      ...common,
      auth: () => reader.token,
      path: { service: "api" },
      body: {},
    });
    expect(refused.error?.code).toBe("ROLE_FORBIDDEN");
  });

  test("every shell example of docs/api.md does what it says", async () => {
    const text = readFileSync(`${root}/docs/api.md`, "utf8");
    const examples = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gmu)].map(([, script = ""]) => script);
    expect(examples.length).toBeGreaterThan(4);
    for (const example of examples) {
      const script = example
        .replaceAll("/run/handoffd/admin.sock", daemon.socket)
        .replaceAll("http://127.0.0.1:9700", url.http);
      const { stdout } = await shell(script);
      // Nothing drains here: that one is refused, as the page says.
      if (example.includes("/end\n")) expect(stdout).toMatch(/GENERATION_(?:IN_USE|UNKNOWN)/u);
      else expect(stdout).not.toContain("urn:handoffd:error");
    }
  });

  /** What a step of a pipeline runs, with what it is given. */
  function pipelines(): readonly (readonly [name: string, script: string, key: string])[] {
    const text = readFileSync(`${root}/docs/api.md`, "utf8");
    const github: unknown = parse(readFileSync(`${root}/examples/github-actions/deploy.yml`, "utf8"));
    const gitlab: unknown = parse(/^```yaml\n([\s\S]*?)^```$/mu.exec(text)?.[1] ?? "");
    const { jobs } = github as {
      jobs: { deploy: { steps: { run: string; env: Record<string, string> }[] } };
    };
    const { deploy } = gitlab as { deploy: { script: string[] } };
    return [
      ["GitHub Actions", jobs.deploy.steps[0]?.run ?? "", "KEY"],
      ["GitLab CI", deploy.script.join("\n"), "CI_JOB_ID"],
    ];
  }

  test.each(["GitHub Actions", "GitLab CI"])(
    "the step for %s deploys, waits, and is repeated without harm",
    async (name) => {
      const [, script = "", key = ""] = pipelines().find(([one]) => one === name) ?? [];
      const version = name.replace(" ", "-");
      const given = { VERSION: version, [key]: `${version}-1` };
      expect((await shell(script, given)).stdout).toContain("done");
      const number = (await daemon.service()).current;
      expect((await daemon.service()).generations.find((one) => one.number === number)?.version).toBe(
        version,
      );
      expect((await shell(script, given)).stdout).toContain("done");
      expect((await daemon.service()).current).toBe(number);
      const failed = await shell(script, { ...given, HANDOFFD_TOKEN: reader.token }).catch(
        (error: unknown) => error,
      );
      expect(failed).toMatchObject({ code: expect.any(Number) as number });
    },
  );

  test("a pipeline fails when its deploy does", async () => {
    const [, script = "", key = ""] = pipelines()[0] ?? [];
    const aborted = shell(script, { VERSION: "bad/version", [key]: "k-bad" }).catch(
      (error: unknown) => error,
    );
    expect(await aborted).toMatchObject({ code: 22 });
  });

  test("of two deploys at the same instant exactly one begins", async () => {
    for (let round = 0; round < 5; round += 1) {
      const before = (await daemon.service()).current;
      const both = await Promise.all(
        ["one", "two"].map(async (version) =>
          fetch(`${url.http}/v1/services/api/deploys`, {
            method: "POST",
            headers: {
              authorization: `Bearer ${ci.token}`,
              "content-type": "application/json",
              "if-match": `"${before ?? 0}"`,
            },
            body: JSON.stringify({ version }),
          }),
        ),
      );
      const answers = await Promise.all(
        both.map(async (one) => ({
          status: one.status,
          body: (await one.json()) as Deploy & { code?: string },
        })),
      );
      expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([202, 409]);
      expect(answers.find(({ status }) => status === 409)?.body.code).toBe("DEPLOY_IN_PROGRESS");
      await daemon.untilDeploy(answers.find(({ status }) => status === 202)?.body.id ?? "");
      const { current } = await daemon.service();
      expect(current).toBe((before ?? 0) + 1);
      const stale = await daemon.api(
        "POST",
        "/v1/services/api/deploys",
        {},
        { "if-match": `"${before ?? 0}"` },
      );
      expect(stale.status).toBe(412);
    }
  });

  test("handoffctl reaches it by its URL with the token of the environment", async () => {
    const { stdout } = await bash(process.execPath, [`${root}/bin/handoffctl`, "deploy", "api", "by-url"], {
      env: environment({ HANDOFFD_URL: url.http, HANDOFFD_TOKEN: ci.token }),
    });
    expect(stdout).toContain("succeeded");
    const refused = await bash(process.execPath, [`${root}/bin/handoffctl`, "restart", "api"], {
      env: environment({ HANDOFFD_URL: url.http, HANDOFFD_TOKEN: reader.token }),
    }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 5 });
  });

  test("the metrics have an address of their own, without a token", async () => {
    const page = await fetch(`${url.metrics}/metrics`);
    expect([page.status, (await page.text()).includes("handoffd_build_info")]).toEqual([200, true]);
    expect((await fetch(`${url.metrics}/v1/status`)).status).toBe(404);
    expect((await fetch(`${url.http}/metrics`)).status).toBe(401);
    const own = await fetch(`${url.http}/metrics`, { headers: { authorization: `Bearer ${reader.token}` } });
    expect(own.status).toBe(200);
  });

  test("after all that no token stands in the log, the events, the history or the metrics", async () => {
    for (const token of [ci.token, reader.token]) {
      await fetch(`${url.http}/v1/deploys?service=${token}`, {
        headers: { authorization: `Bearer ${token}` },
      });
      await fetch(`${url.http}/${token}`, { method: "POST", headers: { authorization: `Bearer ${token}x` } });
    }
    const seen = [
      daemon.output(),
      JSON.stringify((await daemon.api("GET", "/v1/events?since=0&follow=false")).json),
      JSON.stringify((await daemon.api("GET", "/v1/deploys?limit=200")).json),
      JSON.stringify((await daemon.api("GET", "/v1/status")).json),
      await (await fetch(`${url.metrics}/metrics`)).text(),
    ].join("\n");
    expect(seen).toContain("change requested");
    expect(seen.match(/hd_[A-Za-z0-9_-]{20,}/gu) ?? []).toEqual([]);
    for (const { line } of [ci, reader]) {
      expect(seen).not.toContain(/sha256:(\w+)/u.exec(line)?.[1] ?? "");
    }
  });
});

test("a reload reads the tokens again, and one whose tokens file has a mistake changes nothing", async () => {
  const next = mintToken({ name: "ci", role: "deploy", services: ["api"] });
  const file = tokensFile(ci.line, 0o640);
  const config = withHttp(file);
  await using daemon = await startDaemon({ config });
  const { http } = addresses(daemon);
  const statuses = async () =>
    Promise.all(
      [ci, next].map(async ({ token }) => {
        return (await fetch(`${http}/v1/status`, { headers: { authorization: `Bearer ${token}` } })).status;
      }),
    );
  expect(await statuses()).toEqual([200, 401]);

  writeFileSync(file, `${next.line}\nnonsense\n`);
  const listeners = { ...(config["listeners"] as Config), more: { address: "tcp:127.0.0.1:0" } };
  daemon.configure({ ...config, listeners });
  const refused = await daemon.cli("reload");
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("line 2")]);
  expect(await statuses()).toEqual([200, 401]);
  expect((await daemon.status()).listeners.map(({ name }) => name)).toEqual(["web"]);

  writeFileSync(file, next.line);
  expect(await daemon.cli("reload")).toMatchObject({ code: 0, stderr: "" });
  expect(await statuses()).toEqual([401, 200]);
  expect((await daemon.status()).listeners.map(({ name }) => name)).toEqual(["web", "more"]);
});

test.each([
  ["an address of other hosts without tokens", { http: { address: "0.0.0.0:0" } }, "nothing says who asks"],
  [
    "a tokens file that others can read",
    { http: { address: "127.0.0.1:0", tokens: tokensFile(ci.line, 0o644) } },
    "its mode is 0644",
  ],
  [
    "a tokens file with a mistake",
    { http: { address: "127.0.0.1:0", tokens: tokensFile("ci deploy secret", 0o400) } },
    "line 1",
  ],
  [
    "a tokens file that is not there",
    { http: { address: "127.0.0.1:0", tokens: "/nowhere/tokens" } },
    "/nowhere/tokens",
  ],
])("a start with %s is refused, exit 2", async (_title, admin, why) => {
  const started = startDaemon({ config: { ...oneService(), admin } });
  const error = await started.then(
    async (daemon) => daemon[Symbol.asyncDispose](),
    (refusal: unknown) => refusal,
  );
  expect(String(error)).toContain("the daemon ended with 2");
  expect(String(error)).toContain(why);
  expect(String(error)).not.toContain("secret");
});
