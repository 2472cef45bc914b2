import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { AdminAccess } from "../../../daemon/api/admin-access.ts";
import type { AdminConfig } from "../../../daemon/config/config.ts";
import { mintToken } from "../../../admin-api/tokens.ts";
import { serve, temporaryDirectory } from "../../admin-api/serving.ts";
import { bearer, certificates, tcpDoor } from "../../admin-api/tcp.ts";

type Tls = NonNullable<AdminConfig["http"]>["tls"];

function config(tokens: string | null, tls: Tls = null): AdminConfig {
  const address = { kind: "tcp", family: "inet", host: "127.0.0.1", port: 0 } as const;
  return {
    socket: { path: "/unused", mode: 0o600, group: null, roles: [] },
    http: { address, tokens, tls },
  };
}

function write(file: string, text: string, mode = 0o600): void {
  writeFileSync(file, text);
  chmodSync(file, mode);
}

test("a token is replaced by a reload without a gap, and a bad file changes nothing", async () => {
  const file = join(await temporaryDirectory(), "tokens");
  const [old, next] = [mintToken({ name: "ci", role: "read" }), mintToken({ name: "ci", role: "read" })];
  write(file, old.line);
  const admin = new AdminAccess(config(file));
  const { server } = await serve({ access: admin.access });
  const { ask } = await tcpDoor(server);
  const statuses = async () =>
    Promise.all(
      [old, next].map(async ({ token }) => (await ask("GET", "/v1/status", undefined, bearer(token))).status),
    );
  expect(await statuses()).toEqual([200, 401]);

  write(file, `${old.line}\n${next.line}\n`);
  const apply = admin.prepare(config(file));
  expect(await statuses()).toEqual([200, 401]);
  apply();
  expect(await statuses()).toEqual([200, 200]);

  write(file, `${next.line}\nnonsense\n`);
  expect(() => admin.prepare(config(file))).toThrow("line 2");
  expect(await statuses()).toEqual([200, 200]);

  write(file, next.line);
  admin.prepare(config(file))();
  expect(await statuses()).toEqual([401, 200]);
});

test.each([0o644, 0o660, 0o606, 0o666])("a tokens file with the mode %o is refused", async (mode) => {
  const file = join(await temporaryDirectory(), "tokens");
  write(file, mintToken({ name: "ci", role: "read" }).line, mode);
  expect(() => new AdminAccess(config(file))).toThrow(`its mode is 0${mode.toString(8)}`);
  chmodSync(file, 0o640);
  expect(() => new AdminAccess(config(file))).not.toThrow();
});

test("a certificate is replaced by a reload, for the connections that begin from then on", async () => {
  const folder = await temporaryDirectory();
  const [first, second] = [await certificates(), await certificates()];
  const files = { cert: join(folder, "cert"), key: join(folder, "key"), clientCa: null };
  const put = (made: typeof first): void => {
    write(files.cert, made.cert);
    write(files.key, made.key);
  };
  put(first);
  const admin = new AdminAccess(config(null, files));
  const { server } = await serve({ access: admin.access });
  const door = await tcpDoor(server, { kind: "tcp", isLoopback: true, tls: admin.tls }, (opened) =>
    admin.attach(opened),
  );
  const trusts = async ({ ca }: typeof first) =>
    door.ask("GET", "/healthz", undefined, {}, { ca }).then(
      ({ status }) => status,
      () => "not trusted",
    );
  expect([await trusts(first), await trusts(second)]).toEqual([200, "not trusted"]);
  put(second);
  admin.prepare(config(null, files))();
  expect([await trusts(first), await trusts(second)]).toEqual(["not trusted", 200]);
  write(files.key, first.key);
  expect(() => admin.prepare(config(null, files))).toThrow("cannot be used for TLS");
  expect(await trusts(second)).toBe(200);
});
