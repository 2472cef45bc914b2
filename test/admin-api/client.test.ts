import { createServer } from "node:http";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { ApiError, Client } from "../../admin-api/client.ts";
import { serve, temporaryDirectory } from "./serving.ts";

async function answering(status: number, body: string): Promise<Client> {
  const socketPath = join(await temporaryDirectory(), "other.sock");
  const server = createServer((_request, response) => response.writeHead(status).end(body));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  return new Client({ socketPath });
}

test("a refusal is an ApiError with the problem's code, status and detail", async () => {
  const { client } = await serve();
  const error = await client.service("apo").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({
    code: "SERVICE_UNKNOWN",
    status: 404,
    message: expect.stringContaining("apo") as string,
  });
});

test("conditions of a deploy reach the server", async () => {
  const { client } = await serve();
  await expect(client.deploy("api", {}, { ifMatch: 2 })).rejects.toMatchObject({ code: "GENERATION_STALE" });
  const first = await client.deploy("api", {}, { ifMatch: 3, idempotencyKey: "k" });
  expect(await client.deploy("api", {}, { ifMatch: 3, idempotencyKey: "k" })).toEqual(first);
});

test("a name with a slash stays one part of the path", async () => {
  const { client } = await serve();
  await expect(client.service("../../v1/status")).rejects.toMatchObject({ code: "SERVICE_UNKNOWN" });
  await expect(client.service("..")).rejects.toMatchObject({ code: "SERVICE_UNKNOWN" });
});

test("a socket that is not there, and one that nobody listens on, are not reachable", async () => {
  const { client, server } = await serve();
  await server.close();
  await expect(client.status()).rejects.toMatchObject({
    code: "DAEMON_NOT_REACHABLE",
    message: expect.stringContaining("nobody listens there") as string,
  });
  await expect(new Client({ socketPath: "/nowhere/admin.sock" }).status()).rejects.toMatchObject({
    code: "DAEMON_NOT_REACHABLE",
    message: expect.stringContaining("/nowhere/admin.sock: there is no such socket") as string,
  });
});

test("an answer that does not come in time is not waited for", async () => {
  const socketPath = join(await temporaryDirectory(), "silent.sock");
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  onTestFinished(() => void server.close());
  await expect(new Client({ socketPath }, { timeoutMs: 50 }).status()).rejects.toMatchObject({
    code: "DAEMON_NOT_REACHABLE",
    message: expect.stringContaining("no answer in time") as string,
  });
  server.closeAllConnections();
});

test.each([
  [200, "hello"],
  [502, "<html>"],
  [500, "{}"],
])("an answer %d %s that is not the API's is said to be none", async (status, body) => {
  const client = await answering(status, body);
  await expect(client.status()).rejects.toMatchObject({ code: "ANSWER_NOT_UNDERSTOOD" });
});

test.each(["nonsense", "ftp://host/", "unix:/run/x"])("%s is not a URL to ask", (url) => {
  expect(() => new Client({ url })).toThrow(`"${url}" is not an http or https URL.`);
});
