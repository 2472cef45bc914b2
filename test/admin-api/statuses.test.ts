/**
 * Every operation of the OpenAPI document with every status that it names, through a real socket: a status that is
 * documented and cannot be had fails, and so does an answer that does not fit its schema.
 */
import { Ajv2020 } from "ajv/dist/2020.js";
import { expect, test } from "vitest";

import { Access } from "../../admin-api/access.ts";
import { RATE_LIMITS } from "../../admin-api/gate.ts";
import { describeApi, type OpenApiOperation } from "../../admin-api/openapi.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import { type Answer, ROOT, serve, type Serving, type ServingOptions } from "./serving.ts";
import { bearer, keyRing, tcpDoor } from "./tcp.ts";

const document = JSON.parse(JSON.stringify(describeApi())) as ReturnType<typeof describeApi>;
const ajv = new Ajv2020({ strict: false, validateFormats: false });
ajv.addSchema(document, "api");

interface Case {
  readonly method: string;
  readonly template: string;
  readonly operation: OpenApiOperation;
}

const cases: readonly Case[] = Object.entries(document.paths).flatMap(([template, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ method, template, operation })),
);

const KNOWN: Readonly<Record<string, string>> = { service: "api", id: "d-1", number: "3", name: "web" };
const UNKNOWN: Readonly<Record<string, string>> = { service: "apo", id: "d-9", number: "9", name: "mail" };
/** What the daemon itself says, as opposed to the server before it is asked. */
const OF_THE_SERVER = new Set([400, 401, 403, 404, 412, 413, 415, 422, 429, 500]);

function pathOf(template: string, words: Readonly<Record<string, string>> = KNOWN): string {
  return template.replace(/\{(\w+)\}/gu, (_all, name: string) => words[name] ?? name);
}

interface Try {
  readonly serving: Serving;
  readonly path: string;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;
}

/** The operation, with everything that it needs to succeed. */
async function prepared({ template, operation }: Case, options: ServingOptions = {}): Promise<Try> {
  const serving = await serve(options);
  const { operations } = serving;
  if (template.includes("{id}")) operations.deploy("api", {}, ROOT);
  if (operation.operationId === "resumeService") operations.hold("api", { idles: false }, ROOT);
  const path = pathOf(template) + (template.endsWith("/events") ? "?since=0&follow=false" : "");
  const body = operation.operationId === "scaleService" ? { instances: 2 } : undefined;
  return { serving, path, body, headers: {} };
}

/** One way to each status. */
async function answersOf(one: Case, status: number): Promise<readonly Answer[]> {
  const { method, template, operation } = one;
  const verb = method.toUpperCase();
  const changes = verb !== "GET";
  const send = ({ serving, path, body, headers }: Try): Promise<Answer> =>
    serving.ask(verb, path, body, headers);
  switch (status) {
    case 200:
    case 202:
      return [await send(await prepared(one))];
    case 400: {
      const tried = await prepared(one);
      if (changes) return [await send({ ...tried, body: { nonsense: 1 } })];
      if (template.endsWith("{number}")) return [await send({ ...tried, path: `${tried.path}x` })];
      return [await send({ ...tried, path: `${pathOf(template)}?nonsense=1` })];
    }
    case 401: {
      const { access } = keyRing();
      const tried = await prepared(one, { access });
      const { ask } = await tcpDoor(tried.serving.server);
      return [
        await ask(verb, tried.path, tried.body),
        await ask(verb, tried.path, tried.body, bearer("hd_nonsense")),
      ];
    }
    case 403: {
      const grants = [{ role: "read", to: "user", id: 1 }] as const;
      const nobody = { pid: 1, uid: 4242, gid: 4242 };
      const access = new Access({ grants, tokens: null, certificates: false });
      return [await send(await prepared(one, { access, peerOf: () => nobody }))];
    }
    case 404: {
      const tried = await prepared(one);
      if (operation.operationId !== "listDeploys")
        return [await send({ ...tried, path: pathOf(template, UNKNOWN) })];
      return [await send({ ...tried, path: "/v1/deploys?service=apo" })];
    }
    case 412:
      return [await send({ ...(await prepared(one)), headers: { "if-match": '"2"' } })];
    case 413:
      return [await send({ ...(await prepared(one)), body: { version: "x".repeat(70_000) } })];
    case 415:
      return [
        await send({ ...(await prepared(one)), body: "{}", headers: { "content-type": "text/plain" } }),
      ];
    case 422: {
      const tried = await prepared(one);
      const headers = { "idempotency-key": "k" };
      const other = operation.operationId === "holdService" ? { instances: 2 } : { idle: true };
      const path =
        operation.operationId === "holdService" ? "/v1/services/api/scale" : "/v1/services/api/hold";
      const first = await tried.serving.ask(path.endsWith("hold") ? "POST" : "PUT", path, other, headers);
      expect(first.status).toBe(200);
      return [await send({ ...tried, headers })];
    }
    case 429: {
      const limit = { perSecond: 0.1, burst: 1 };
      const tried = await prepared(one, { limits: { ...RATE_LIMITS, reads: limit, changes: limit } });
      await send(tried);
      return [await send(tried)];
    }
    case 500: {
      const tried = await prepared(one);
      if (changes) tried.serving.operations.failure = new TypeError("a fault");
      else tried.serving.operations.blindness = new TypeError("a fault");
      return [await send(tried)];
    }
    case 503: {
      if (changes) break;
      const tried = await prepared(one);
      tried.serving.operations.health_ = { ready: false, reasons: ["the daemon is stopping"] };
      return [await send(tried)];
    }
  }
  return [];
}

/** The codes that the document names for a status, each as the daemon throws it. */
async function refusalsOf(one: Case, status: number): Promise<readonly Answer[]> {
  const description = JSON.stringify(one.operation.responses[String(status)]?.["description"]);
  const codes = [...description.matchAll(/\b[A-Z]+(?:_[A-Z]+)+\b/gu)].map(([code]) => code);
  const answers: Answer[] = [];
  for (const code of OF_THE_SERVER.has(status) ? [] : codes) {
    const { serving, path, body, headers } = await prepared(one);
    serving.operations.failure = new CodedError(code, "As the daemon would say it.");
    const answer = await serving.ask(one.method.toUpperCase(), path, body, headers);
    expect(answer.body["code"]).toBe(code);
    answers.push(answer);
  }
  return answers;
}

function expectToFit({ method, template }: Case, status: number, answer: Answer): void {
  const type = answer.headers["content-type"]?.split(";")[0] ?? "";
  const response = document.paths[template]?.[method]?.responses[String(status)];
  const content = Object.keys((response?.["content"] ?? {}) as object);
  expect(content).toEqual([type]);
  if (!type.includes("json")) return;
  const pointer = ["paths", template, method, "responses", String(status), "content", type, "schema"];
  const at = pointer
    .map((part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1")))
    .join("/");
  const fits = ajv.compile({ $ref: `api#/${at}` });
  expect(fits(answer.body), `${JSON.stringify(answer.body)}: ${JSON.stringify(fits.errors)}`).toBe(true);
}

test.each(cases.map((one) => [one.operation.operationId, one] as const))(
  "%s answers with each status that it documents, in the words of its schema",
  async (_id, one) => {
    for (const status of Object.keys(one.operation.responses).map(Number)) {
      const answers = [...(await answersOf(one, status)), ...(await refusalsOf(one, status))];
      expect(answers.length, `nothing leads to ${status}`).toBeGreaterThan(0);
      for (const answer of answers) {
        expect(answer.status, `${status} was wanted: ${answer.text}`).toBe(status);
        expect(answer.headers["x-request-id"]).toMatch(/^req-/u);
        expectToFit(one, status, answer);
      }
    }
  },
);
