/**
 * The page in a real Chromium, at a real daemon that deploys under load: one visit, in the order in which it happens.
 *
 * `HANDOFFD_TEST_PICTURES=docs/images npx vitest run test/e2e/page.test.ts` also takes the pictures of the manual.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { mintToken } from "../../admin-api/tokens.ts";
import { hasChromium, type Look, SCHEMES, Viewer, WIDTHS } from "../support/browser.ts";
import { type Daemon, startDaemon } from "../support/daemon.ts";
import { type Load, lost, startLoad } from "../support/load.ts";
import { addressOf } from "../support/ports.ts";
import { install, NOTHING } from "../support/stage.ts";

const ada = mintToken({ name: "ada", role: "deploy", services: ["api"] });
const pictures = process.env["HANDOFFD_TEST_PICTURES"];

const LOOKS: readonly Look[] = WIDTHS.flatMap((width) => SCHEMES.map((scheme) => ({ width, scheme })));
/** How the manual shows each state on a desk, and what stands on the page when there is something to see in the plots. */
const PICTURED = {
  idle: ["light", /up [3-9]\d s/u],
  canary: ["light", /met it for 2\d s/u],
  baking: ["dark", /met it for 2\d s/u],
  failed: ["light", /failed/u],
} as const;

const STEPS = [
  { weight: "5%", for: "10m" },
  { weight: "50%", for: "10m" },
];

const TITLE = "the page, in Chromium, while a daemon deploys under load";

describe.skipIf(!hasChromium)(TITLE, { timeout: pictures === undefined ? 30_000 : 120_000 }, () => {
  const folder = mkdtempSync(`${tmpdir()}/page-`);
  let daemon: Daemon;
  let viewer: Viewer;
  let loads: readonly Load[] = [];

  beforeAll(async () => {
    const tokens = `${folder}/tokens`;
    writeFileSync(tokens, `${ada.line}\n`);
    chmodSync(tokens, 0o600);
    for (const version of ["2.7.1", "2.8.0", "2.9.0"]) install(folder, version, { program: "polite.mjs" });
    install(folder, "2.9.1", { program: "health-500.mjs" });
    daemon = await startDaemon({
      config: {
        listeners: { web: { address: "tcp:127.0.0.1:0" } },
        admin: { http: { address: "127.0.0.1:0", tokens } },
        services: {
          api: {
            command: ["./run"],
            directory: `${folder}/{version}`,
            version: "2.7.1",
            listeners: ["web"],
            instances: 2,
            verify: [{ http: { path: "/healthz", count: 3 } }],
            deploy: { strategy: "canary", steps: STEPS, bake: "5m" },
            drain: { settle: "500ms", timeout: "20s" },
          },
        },
      },
    });
    const { target } = addressOf(await daemon.status(), "web");
    // A browser takes what there is of the processors: late is what is very late.
    const common = { target, seconds: 300, lateMs: 5_000 };
    loads = [
      startLoad({ ...common, mode: "new", connections: 64, rate: 100, path: "/slow?ms=250" }),
      startLoad({ ...common, mode: "keepalive", connections: 16, thinkMs: [50, 150] }),
    ];
    await Promise.all(loads.map(({ started }) => started));
    const up = daemon.log().find(({ msg }) => msg === "handoffd is up");
    viewer = await Viewer.open(`http://${String(up?.["http"])}/`);
  });

  afterAll(async () => {
    await viewer[Symbol.asyncDispose]();
    for (const load of loads) await load[Symbol.asyncDispose]();
    await daemon[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Sees that nothing is wrong with what is shown, on a desk and on a phone, by day and by night. */
  async function inspect(state: keyof typeof PICTURED | "signing in" | "a question"): Promise<void> {
    for (const look of LOOKS) {
      await viewer.look(look);
      expect.soft(await viewer.faults(), `${state}, ${look.scheme}, ${look.width} px`).toEqual([]);
      if (pictures === undefined || !(state in PICTURED)) continue;
      const [scheme, text] = PICTURED[state as keyof typeof PICTURED];
      if (look.scheme !== (look.width === 360 ? "dark" : scheme)) continue;
      await viewer.page.locator("#page", { hasText: text }).waitFor({ timeout: 60_000 });
      const path = `${pictures}/page-${state}-${look.scheme}-${look.width}.png`;
      await viewer.page.screenshot({ path, fullPage: true });
    }
    await viewer.look({ width: 1280, scheme: "light" });
  }

  /** Asks for it with the mouse, and says yes to the question. */
  async function click(verb: string): Promise<void> {
    await viewer.page.click(`button[data-verb="${verb}"]`);
    await viewer.page.click("dialog [data-confirm]");
  }

  const phase = (name: string): Promise<void> => viewer.page.locator(`[data-phase="${name}"]`).waitFor();
  const shareOf = (generation: number): string => `[data-generation="${generation}"] .weight b`;

  test("a wrong token is refused in words; the right one opens it, and stays in the tab alone", async () => {
    const { page } = viewer;
    await page.locator("#token").waitFor();
    await inspect("signing in");
    await page.keyboard.type("hd_wrong");
    await page.keyboard.press("Enter");
    await page.locator(".sign-in .refusal").waitFor();
    await page.fill("#token", ada.token);
    await page.keyboard.press("Enter");
    await page.locator(shareOf(1)).waitFor();

    const url = page.url();
    const kept = await page.evaluate("[localStorage.length, document.cookie, location.href]");
    expect.soft(kept).toEqual([0, "", url]);
    expect([new URL(url).search, new URL(url).hash, await page.context().cookies()]).toEqual(["", "", []]);
    const tab = await page.context().newPage();
    await tab.goto(url);
    await tab.locator("#token").waitFor();
    await tab.close();
  });

  test("a service that nothing is being done to", async () => {
    expect(await viewer.page.textContent(shareOf(1))).toBe("100 %");
    await inspect("idle");
  });

  test("a deploy is begun with the keyboard alone, and the canary is shown at its 5 %", async () => {
    const { page } = viewer;
    await viewer.tabTo('[data-verb="deploy"]');
    await page.keyboard.press("Enter");
    await page.locator('input[name="version"]:focus').waitFor();
    await page.keyboard.type("2.8.0");
    await page.keyboard.press("Enter");
    await phase("shifting");
    await page.locator(shareOf(2), { hasText: /^5 %$/u }).waitFor();
    expect(await page.getAttribute(".split", "aria-label")).toBe(
      "New connections: generation 1 95 %, generation 2 5 %",
    );
    expect((await daemon.service()).generations.map(({ weight }) => weight)).toEqual([0.95, 0.05]);
    await loads[0]?.sawVersion("2.8.0");
    await inspect("canary");
  });

  test("Escape leaves the question and nothing is promoted; a click on Promote and a yes promote it", async () => {
    const { page } = viewer;
    await page.click('button[data-verb="promote"]');
    await page.locator("dialog[open]").waitFor();
    await inspect("a question");
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
    expect(await viewer.has('[data-verb="promote"]')).toBe(true);
    expect((await daemon.service()).deploy?.phase).toBe("shifting");

    await click("promote");
    await phase("succeeded");
    await page.locator(shareOf(2), { hasText: /^100 %$/u }).waitFor();
    const service = await daemon.service();
    expect(service).toMatchObject({ current: 2, candidate: null });
    expect(service.generations.map(({ number, weight }) => [number, weight])).toEqual([[2, 1]]);
  });

  test("a deploy that someone else began is seen to bake, and a click takes it back", async () => {
    const { page } = viewer;
    await daemon.deploy("2.9.0", { body: { strategy: "blue-green" }, until: ["baking"] });
    await phase("baking");
    await page.locator(shareOf(3), { hasText: /^100 %$/u }).waitFor();
    await loads[0]?.sawVersion("2.9.0");
    await inspect("baking");

    await click("rollback");
    await phase("rolled-back");
    await page.locator(shareOf(2), { hasText: /^100 %$/u }).waitFor();
    expect(await daemon.service()).toMatchObject({ current: 2, candidate: null, deploy: null });
  });

  test("a deploy that fails says why, and what it left alone", async () => {
    const { reason } = await daemon.deploy("2.9.1");
    await phase("failed");
    expect(await viewer.page.textContent(".deploy.bad .reason")).toContain(reason?.message);
    expect(await viewer.page.textContent(shareOf(2))).toBe("100 %");
    await inspect("failed");
  });

  test("after all that no client has lost anything, and the browser has nothing to complain about", async () => {
    const reports = await Promise.all(loads.map((load) => load.stop()));
    for (const report of reports) {
      expect.soft({ ...lost(report), badStatus: report.badStatus }).toEqual({ ...NOTHING, badStatus: 0 });
    }
    expect.soft(Object.keys(reports[0]?.versions ?? {}).sort()).toEqual(["2.7.1", "2.8.0", "2.9.0"]);
    expect(viewer.complaints).toEqual([]);
  });
});
