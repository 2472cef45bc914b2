import type { FastifyInstance } from "fastify";

import { ASSETS, Assets } from "../assets.ts";

/**
 * The page for people. It holds no secret and shows nothing by itself: what it shows it asks of the routes above, as
 * whoever looks at it. So anyone may load it, as they may read it in the package.
 */
export function dashboardRoutes(app: FastifyInstance): void {
  const assets = new Assets();
  for (const { path, id, summary, type } of ASSETS) {
    app.get(
      path,
      { config: { role: "anyone", operation: { id, summary, tag: "daemon", produces: type } } },
      async (request, reply) => {
        const { body, packed, etag } = await assets.read(path);
        void reply.headers({
          "content-security-policy": POLICY,
          // The next version of the daemon has another page: ask each time, and mostly get a 304.
          "cache-control": "no-cache",
          "cross-origin-opener-policy": "same-origin",
          "cross-origin-resource-policy": "same-origin",
          "permissions-policy": "camera=(), geolocation=(), microphone=()",
          etag,
          vary: "accept-encoding",
        });
        if (request.headers["if-none-match"]?.split(/,\s*/u).includes(etag) === true)
          return reply.code(304).send();
        void reply.type(`${type}; charset=utf-8`);
        if (!/\bgzip\b/u.test(request.headers["accept-encoding"] ?? "")) return reply.send(body);
        return reply.header("content-encoding", "gzip").send(packed);
      },
    );
  }
}

/**
 * Everything from here, nothing inline, no form that is sent anywhere, and no frame around it, in which a click could
 * be stolen. Text becomes markup nowhere.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");
