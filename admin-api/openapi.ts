/**
 * The OpenAPI document, from the routes themselves: their schemas, what they say of themselves (operation.ts), and what
 * holds for all of them. docs/openapi.json is this, and a test compares the two.
 */
import { fastify, type RouteOptions } from "fastify";

import { packageVersion } from "../handoff/version.ts";
import type { Operation } from "./operation.ts";
import { PROBLEM_TYPE, PROBLEMS } from "./problem.ts";
import { addRoutes } from "./routes.ts";
import type { RouteContext } from "./routes/context.ts";
import * as requests from "./request-schemas.ts";
import * as schemas from "./schemas.ts";
import { COMPILERS } from "./validation.ts";

/** JSON as the document has it. */
type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = { readonly [key: string]: Json };

export interface OpenApiOperation {
  readonly operationId: string;
  readonly responses: Readonly<Record<string, JsonObject>>;
  /** Who may: a role, or anyone. */
  readonly "x-role": string;
  readonly [key: string]: unknown;
}

export interface OpenApiDocument {
  readonly openapi: "3.1.0";
  readonly paths: Readonly<Record<string, Readonly<Record<string, OpenApiOperation>>>>;
  readonly [key: string]: unknown;
}

type Described = Pick<RouteOptions, "schema" | "config"> & { readonly method: string; readonly url: string };

const DESCRIPTION = `The API of handoffd, over its unix socket or by TCP.

Every answer has \`X-Request-Id\`. Every error is application/problem+json (RFC 9457) with a stable \`code\`; docs/errors.md says what each means and what to do. Any request can also be answered with 405 (\`Allow\` names the methods), 408 and 431 (its headers come too slowly or are too large), 414 (its address is above 4096 bytes) and, on a loopback address, 421 (another host name than localhost).

Objects may get new fields at any time: read past those that you do not know.`;

/** Throws when a route does not say what it is. */
export function describeApi(): OpenApiDocument {
  const paths: Record<string, Record<string, OpenApiOperation>> = {};
  for (const route of routes()) {
    const path = route.url.replace(/:([a-z]+)/gu, "{$1}");
    (paths[path] ??= {})[route.method.toLowerCase()] = operationOf(route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "handoffd",
      version: packageVersion(),
      summary: "Owns listening sockets and hands them to new generations of an application.",
      description: DESCRIPTION,
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    security: [{ token: [] }, { certificate: [] }],
    tags: ["daemon", "listeners", "services", "deploys", "events"].map((name) => ({ name })),
    paths,
    components: {
      schemas: Object.fromEntries(COMPONENTS.map(([name, schema]) => [name, referring(schema, name)])),
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "A line of admin.http.tokens." },
        certificate: { type: "mutualTLS", description: "Of a CA in admin.http.tls.client_ca." },
      },
    },
  };
}

function routes(): Described[] {
  const found: Described[] = [];
  const app = fastify({ schemaController: { compilersFactory: COMPILERS } });
  app.addHook("onRoute", ({ method, url, schema, config }) => {
    for (const each of [method].flat()) {
      if (each !== "HEAD")
        found.push({ method: each, url, ...(schema && { schema }), ...(config && { config }) });
    }
  });
  // Nothing is asked of it: the routes are added, and never called.
  addRoutes(app, {} as RouteContext);
  return found;
}

function operationOf({ method, url, schema = {}, config = {} }: Described): OpenApiOperation {
  const { operation } = config as { readonly operation?: Operation };
  if (operation === undefined) throw new Error(`${method} ${url} has no config.operation`);
  const changes = method !== "GET";
  const role = config.role ?? (changes ? "admin" : "read");
  const body = schema.body as JsonObject | undefined;
  const required = ((body?.["required"] as readonly string[] | undefined) ?? []).some(
    (name) => !("default" in ((body?.["properties"] as Record<string, JsonObject>)[name] ?? {})),
  );
  return {
    operationId: operation.id,
    summary: operation.summary,
    tags: [operation.tag],
    "x-role": role,
    ...(role === "anyone" && { security: [] }),
    parameters: parametersOf(url, schema, operation, changes),
    ...(body !== undefined && {
      requestBody: { required, content: { "application/json": { schema: referring(body, null) } } },
    }),
    responses: responsesOf({ method, url, schema, config }, operation, role),
  };
}

function parametersOf(
  url: string,
  { querystring, params }: NonNullable<Described["schema"]>,
  { takesIfMatch, produces }: Operation,
  changes: boolean,
): Json[] {
  const described = propertiesOf(params);
  const inPath = [...url.matchAll(/:([a-z]+)/gu)].map(([, name = ""]) => ({
    name,
    in: "path",
    required: true,
    schema: described[name] ?? { type: "string" },
  }));
  const inQuery = Object.entries(propertiesOf(querystring)).map(([name, schema]) => ({
    name,
    in: "query",
    ...("description" in schema && { description: schema["description"] as string }),
    schema,
  }));
  const header = (name: string, description: string) => ({
    name,
    in: "header",
    description,
    schema: { type: "string" },
  });
  return [
    ...inPath,
    ...inQuery,
    ...(changes
      ? [header("Idempotency-Key", "The same key with the same request gets the first answer again.")]
      : []),
    ...(takesIfMatch
      ? [header("If-Match", "The quoted number of the current generation, as the ETag has it.")]
      : []),
    ...(produces === "text/event-stream"
      ? [header("Last-Event-ID", "The id of the last event that was seen; those after it come first.")]
      : []),
  ];
}

function propertiesOf(schema: unknown): Readonly<Record<string, JsonObject>> {
  const { properties = {} } = (schema ?? {}) as { readonly properties?: Record<string, JsonObject> };
  return JSON.parse(JSON.stringify(properties)) as Record<string, JsonObject>;
}

function responsesOf(
  { method, url, schema = {} }: Described,
  operation: Operation,
  role: string,
): Record<string, JsonObject> {
  const { produces, headers = {} } = operation;
  const described = Object.entries((schema.response ?? {}) as Record<string, JsonObject>);
  const headersOf = Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: "string" } }]),
  );
  const good: [string, JsonObject][] =
    described.length > 0
      ? described.map(([status, body]) => [
          status,
          {
            description: Number(status) < 300 ? operation.summary : "Not now; the body says why.",
            ...(Object.keys(headersOf).length > 0 && { headers: headersOf }),
            content: { "application/json": { schema: referring(body, null) } },
          },
        ])
      : [
          [
            "200",
            {
              description: operation.summary,
              content: {
                [produces ?? "application/json"]: {
                  schema: { type: produces === undefined ? "object" : "string" },
                },
              },
            },
          ],
        ];
  return Object.fromEntries([...good, ...problemsOf(method, url, schema, operation, role)]);
}

/** By status, the codes that this operation can answer. */
function problemsOf(
  method: string,
  url: string,
  schema: NonNullable<Described["schema"]>,
  { refusals = [], takesIfMatch, produces }: Operation,
  role: string,
): [string, JsonObject][] {
  const changes = method !== "GET";
  // They read nothing that could fail.
  const isStatic = role === "anyone" || ["/openapi.json", "/v1/caller", "/v1/events"].includes(url);
  const codes = new Set<string>([
    ...(changes || schema.querystring !== undefined || schema.params !== undefined
      ? ["REQUEST_INVALID"]
      : []),
    ...(role === "anyone" ? [] : ["NOT_AUTHENTICATED", "TOKEN_REFUSED", "ROLE_FORBIDDEN"]),
    ...(changes ? ["SERVICE_FORBIDDEN", "ORIGIN_FORBIDDEN"] : []),
    ...(url.includes(":service") ? ["SERVICE_UNKNOWN"] : []),
    ...(url.includes(":id") ? ["DEPLOY_UNKNOWN"] : []),
    ...(url.includes("/listeners/:name") ? ["LISTENER_UNKNOWN"] : []),
    ...(url.includes(":number") ? ["GENERATION_UNKNOWN"] : []),
    ...(takesIfMatch ? ["GENERATION_STALE"] : []),
    ...(changes ? ["BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED", "IDEMPOTENCY_KEY_REUSED"] : []),
    ...(produces === "text/event-stream" ? ["REQUEST_INVALID"] : []),
    "RATE_LIMITED",
    ...(isStatic ? [] : ["INTERNAL"]),
    ...refusals,
  ]);
  const byStatus = new Map<number, string[]>();
  for (const code of codes) {
    const status = PROBLEMS[code]?.status;
    if (status === undefined) throw new Error(`${method} ${url} names ${code}, which is in no table`);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return [...byStatus].map(([status, some]) => [
    String(status),
    {
      description: some.join(", "),
      ...(status === 429 && {
        headers: { "Retry-After": { description: "In seconds.", schema: { type: "integer" } } },
      }),
      content: { [PROBLEM_TYPE]: { schema: { $ref: "#/components/schemas/Problem" } } },
    },
  ]);
}

/** What schemas.ts and request-schemas.ts export, by its names. Bodies that are not objects worth a name are left where they are. */
const COMPONENTS: readonly (readonly [string, JsonObject])[] = Object.entries({ ...schemas, ...requests })
  .filter(([name, value]) => typeof value === "object" && !/(?:Query|Params)$|^NoBody$/u.test(name))
  .map(([name, value]) => [name, JSON.parse(JSON.stringify(value)) as JsonObject]);
const NAMES: ReadonlyMap<string, string> = new Map(
  COMPONENTS.map(([name, schema]) => [JSON.stringify(schema), name]),
);

/** A schema whose parts that have a name are references to it. `own` is its own name, which it does not refer to. */
function referring(schema: Json, own: string | null): Json {
  const plain: Json = JSON.parse(JSON.stringify(schema)) as Json;
  return replace(plain, own);
}

function replace(value: Json, own: string | null): Json {
  if (Array.isArray(value)) return value.map((each: Json) => replace(each, null));
  if (typeof value !== "object" || value === null) return value;
  const name = NAMES.get(JSON.stringify(value));
  if (name !== undefined && name !== own) return { $ref: `#/components/schemas/${name}` };
  const { anyOf, ...rest } = value as { readonly anyOf?: readonly JsonObject[] };
  const words = anyOf?.map((branch) => branch["const"]);
  if (words?.every((word) => typeof word === "string")) return { ...rest, type: "string", enum: words };
  return Object.fromEntries(
    Object.entries(value as JsonObject).map(([key, each]) => [key, replace(each, null)]),
  );
}
