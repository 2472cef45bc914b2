import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { gunzipSync, gzipSync } from "node:zlib";

import { expect, test } from "vitest";

import { type Asset, ASSETS, Assets } from "../../admin-api/assets.ts";
import { root } from "../support/paths.ts";
import { serve } from "./serving.ts";
import { keyRing, tcpDoor } from "./tcp.ts";

const built = (file: string): Buffer => readFileSync(`${root}/dist/admin-api/dashboard/${file}`);
const MOST_BYTES = 120_000;

interface Raw {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

async function raw(
  socketPath: string,
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.once("end", () => resolve({ headers: response.headers, body: Buffer.concat(parts) }));
    });
    asked.once("error", reject);
    asked.end();
  });
}

test.each(ASSETS)(
  "GET $path is $file as it was built, for those who take gzip and for those who do not",
  async ({ path, file, type }) => {
    const { path: socket } = await serve();
    const plain = await raw(socket, path, {});
    expect(plain.body.equals(built(file))).toBe(true);
    expect(plain.headers).toMatchObject({
      "content-type": `${type}; charset=utf-8`,
      "cache-control": "no-cache",
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    });
    const packed = await raw(socket, path, { "accept-encoding": "gzip, br" });
    expect(packed.headers).toMatchObject({ "content-encoding": "gzip", vary: "accept-encoding" });
    expect(gunzipSync(packed.body).equals(built(file))).toBe(true);
  },
);

test("whoever has a file already gets a 304 without it, and another one gets the new one", async () => {
  const { ask } = await serve();
  const { etag = "" } = (await ask("GET", "/dashboard/app.js")).headers;
  const again = await ask("GET", "/dashboard/app.js", undefined, { "if-none-match": `"other", ${etag}` });
  expect([again.status, again.text, again.headers.etag]).toEqual([304, "", etag]);
  expect((await ask("GET", "/dashboard/app.js", undefined, { "if-none-match": '"other"' })).status).toBe(200);
});

test("the policy allows what comes from here as a file, and nothing else", async () => {
  const { ask } = await serve();
  const { headers, text } = await ask("GET", "/");
  const policy = String(headers["content-security-policy"]);
  expect(Object.fromEntries(policy.split("; ").map((rule) => rule.split(/ (.*)/u).slice(0, 2)))).toEqual({
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
  });
  expect(policy).not.toMatch(/unsafe|https?:|data:|\*/u);
  // Nothing in the page needs more.
  expect(text).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=/u);
  const sources = [...text.matchAll(/(?:src|href)="([^"]*)"/gu)].map(([, source]) => `/${source ?? ""}`);
  expect(sources.sort()).toEqual(
    ASSETS.map(({ path }) => path)
      .filter((path) => path !== "/")
      .sort(),
  );
});

test("the page is the same for everyone, and says nothing of the daemon", async () => {
  const { access } = keyRing();
  const { server, ask } = await serve({ access });
  const door = await tcpDoor(server);
  const stranger = await door.ask("GET", "/", undefined, { host: "deploy.example.org" });
  expect([stranger.status, stranger.text]).toEqual([200, (await ask("GET", "/")).text]);
  expect((await door.ask("GET", "/dashboard/nothing.js")).status).toBe(401);
  expect((await door.ask("POST", "/")).status).toBe(401);
});

test("all of it is at most 120 kB to load", () => {
  const bytes = ASSETS.reduce((sum, { file }) => sum + gzipSync(built(file)).length, 0);
  expect(bytes).toBeLessThan(MOST_BYTES);
});

test("what is bundled comes with its licences", () => {
  const text = built("LICENSES.txt").toString("utf8");
  expect(text).toContain("Jason Miller");
  expect(text).toContain("Leon Sorokin");
  expect(built("app.js").toString("utf8").slice(0, 300)).toContain("LICENSES.txt");
});

test("the files are read when someone looks, once, and again after a failure", async () => {
  let reads = 0;
  const body = Buffer.from("page");
  const asset: Asset = { body, packed: gzipSync(body), etag: createHash("sha256").digest("hex") };
  const assets = new Assets(async () => {
    reads += 1;
    if (reads === 1) throw new Error("too many open files");
    return Promise.resolve(new Map([["/", asset]]));
  });
  expect(reads).toBe(0);
  await expect(assets.read("/")).rejects.toThrow("too many open files");
  expect(await Promise.all([assets.read("/"), assets.read("/")])).toEqual([asset, asset]);
  expect(reads).toBe(2);
});
