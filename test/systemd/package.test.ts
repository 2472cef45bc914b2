/** The Debian package on a clean Debian 13 with its own Node: docs/install.md's lines, one after the other, while clients ask. */
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { lost } from "../support/load.ts";
import { root } from "../support/paths.ts";
import { environment, eventually } from "../support/processes.ts";
import { run } from "../support/run.ts";
import { NOTHING } from "../support/stage.ts";
import { Box } from "../support/systemd-box/box.ts";
import { whyNoBox } from "../support/systemd-box/root.ts";
import { Unit } from "../support/systemd-box/unit.ts";
import { BOOT_MS, TARGET } from "./scenario.ts";

const BUILD_MS = 120_000;
const FILES = ["handoffd_0.1.0_amd64.deb", "handoffd_0.2.0_amd64.deb"];
/** Some of what is in it. */
const CONTENT = [
  "/usr/bin/handoffctl",
  "/usr/bin/handoffd",
  "/usr/lib/handoffd/build/Release/handoff-exec",
  "/usr/lib/handoffd/build/Release/handoff-keeper",
  "/usr/lib/handoffd/build/Release/handoff.node",
  "/usr/lib/handoffd/dist/handoff/app.js",
  "/usr/lib/handoffd/handoffd-stop-post",
  "/usr/lib/systemd/system/handoffd-leftovers.service",
  "/usr/lib/systemd/system/handoffd.service",
  "/usr/lib/systemd/system/handoffd.service.d/10-systemd-254.conf",
  "/usr/share/bash-completion/completions/handoffctl",
  "/usr/share/zsh/vendor-completions/_handoffctl",
  "/usr/share/fish/vendor_completions.d/handoffctl.fish",
  "/usr/share/man/man1/handoffctl.1.gz",
  "/usr/share/man/man5/handoffd.yaml.5.gz",
  "/usr/share/man/man8/handoffd.8.gz",
  "/usr/share/doc/handoffd/LICENSES.txt",
  "/etc/handoffd/handoffd.example.yaml",
];
/** Where the packages are, in the box. */
const PLACE = "/var/tmp";
const CONFIGURATION = "/etc/handoffd/handoffd.yaml";
/** What dpkg and systemd keep of any package: their own records. */
const RECORDS =
  /^\/(var\/(lib\/(dpkg|apt|systemd\/(catalog|random-seed|timers))|cache|log|tmp)|tmp|root)(\/|$)|^\/etc\/(passwd|group|g?shadow|subuid|subgid)-$/u;

let folder = "";
let box: Box;
let unit: Unit;
beforeAll(async () => {
  const why = whyNoBox({ dh: "debhelper", lintian: "lintian" });
  if (why !== null) throw new Error(why);
  folder = mkdtempSync(`${tmpdir()}/hd-deb-`);
  box = await Box.boot(257, "clean");
  unit = Unit.of(box);
  for (const version of ["0.1.0", "0.2.0"]) {
    const words = [`${root}/tools/build-deb.mjs`, `--output=${folder}`, `--version=${version}`];
    const env = environment({ DPKG_DEB_COMPRESSOR_LEVEL: "1" });
    await run(process.execPath, words, { env, deadlineMs: BUILD_MS });
  }
  for (const file of FILES) cpSync(`${folder}/${file}`, box.path(`${PLACE}/${file}`));
}, BOOT_MS);
afterAll(async () => {
  await box[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** The block of code of a document that has these words in it. */
function block(document: string, words: string): string {
  const blocks = readFileSync(`${root}/${document}`, "utf8").matchAll(/^```\w+\n(.*?)^```$/gmsu);
  const found = [...blocks].map(([, code = ""]) => code).find((code) => code.includes(words));
  if (found === undefined) throw new Error(`${document} has no code with "${words}"`);
  return found;
}

const lines = block("docs/install.md", "apt-get purge")
  .trim()
  .split("\n")
  .map((line) => line.replace(/\s+# .*$/u, ""));

/** Runs the next line of the manual, which begins with these words. Returns what it says. */
function next(words: string): Promise<string> {
  const line = lines.shift() ?? "nothing";
  expect(line.slice(0, words.length)).toBe(words);
  return box.run("env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", `cd ${PLACE} && ${line}`);
}

async function everyFile(): Promise<Set<string>> {
  const found = (await box.run("find", "/", "-xdev")).split("\n");
  return new Set(found.filter((path) => !RECORDS.test(path)));
}

test("lintian finds neither an error nor a warning", async () => {
  const words = ["--allow-root", "--fail-on=error,warning", `${folder}/${FILES[0] ?? ""}`];
  expect(await run("lintian", words, { deadlineMs: BUILD_MS })).toMatchObject({ stdout: "", stderr: "" });
});

test("from an empty host to a service, deployed, taken back and upgraded: no request fails until the removal", async () => {
  const before = await everyFile();
  await next("apt-get install");
  const content = new Set((await box.run("dpkg", "-L", "handoffd")).split("\n"));
  expect(CONTENT.filter((path) => !content.has(path))).toEqual([]);
  expect(await box.show("handoffd.service", "UnitFileState")).toBe("enabled");
  expect(await unit.show("ActiveState")).toBe("inactive");
  await next("install -D");
  expect(lines.shift()).toBe(`editor ${CONFIGURATION}`);
  const configuration = block("README.md", "listeners:");
  expect(configuration.trim().split("\n")).toHaveLength(6);
  box.write(CONFIGURATION, configuration);
  await next("systemctl start");
  await unit.untilRunning();
  // The six lines name no user: that is all that there is to say of a host like this one.
  const said = await next("handoffctl doctor");
  expect([...said.matchAll(/^(problem|warning) +(\S+)/gmu)].map(([, ...finding]) => finding)).toEqual([
    ["warning", "service.user"],
  ]);

  const paced = { target: TARGET, connections: 8, rate: 200 };
  await using fresh = unit.load({ ...paced, mode: "new" });
  await using kept = unit.load({ ...paced, mode: "keepalive", thinkMs: [0, 20] });
  await Promise.all([fresh.started, kept.started]);

  await next("handoffctl deploy web 2 --detach");
  await eventually("a generation that bakes", async () => (await unit.service("web")).current === 2);
  await next("handoffctl rollback");
  expect(await unit.service("web")).toMatchObject({ current: 1, state: "running" });
  await next("handoffctl deploy web 3");
  const service = await eventually("one generation", async () => {
    const now = await unit.service("web");
    return now.generations.length === 1 ? now : undefined;
  });
  expect(service).toMatchObject({ current: 3, generations: [{ version: "3" }] });

  const [daemon, instances] = [await unit.mainPid(), await unit.instances("web")];
  await next("apt-get install");
  expect(await unit.status()).toMatchObject({ version: "0.2.0", upgrades: 1, pid: daemon });
  expect(await unit.mainPid()).toBe(daemon);
  expect(await unit.instances("web")).toEqual(instances);

  const reports = await Promise.all([fresh.stop(), kept.stop()]);
  expect(reports.map((report) => ({ ...lost(report), bad: report.badStatus }))).toEqual([
    { ...NOTHING, bad: 0 },
    { ...NOTHING, bad: 0 },
  ]);

  await next("apt-get remove");
  expect(await box.run("ss", "-Hltn")).toBe("");
  expect((await box.tried("pgrep", "-f", "/srv/web|handoff")).stdout).toBe("");
  await next("apt-get install");
  await unit.untilRunning();
  expect(await unit.service("web")).toMatchObject({ generations: [{ version: "3" }] });

  await next("apt-get purge");
  expect(lines).toEqual([]);
  const left = [...(await everyFile())].filter((path) => !before.has(path));
  expect(left).toEqual(["/srv/web", "/srv/web/server.js"]);
});
