// `npm run build`, near its end: what is in dist/ once more as a few files in dist/bundle/, which bin/ runs. A daemon of three files
// starts in a fraction of the time of one of four hundred, and is smaller. The addon, its companions and the page stay where they
// are: a module finds them from where it was compiled to.
import { readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { _, Ajv } from "ajv";
import standalone from "ajv/dist/standalone/index.js";
import { build } from "esbuild";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const outdir = join(dist, "bundle");
// Packages that are CommonJS require what Node has.
const BANNER =
  'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);';
const FITS = join(dist, "daemon/config/fits.js");

/** What the schema's compiler says, in place of the compiler (daemon/config/fits.ts). */
async function compiledSchema() {
  const { fits, schema } = await import(pathToFileURL(FITS).href);
  // The one function that it calls and does not write itself.
  for (const name of fits.source.scopeValues.keyword) name.value.code = _`readValue`;
  const code = standalone.default(new Ajv({ code: { source: true, esm: true } }), fits);
  const text = JSON.stringify(JSON.stringify(schema));
  return `import { readValue } from "./read-value.js";\nconst self = null;\n${code}\nexport const fits = validate;\nexport const schema = JSON.parse(${text});\n`;
}

/** A module's own place, which it has lost in the bundle. */
function placed(path) {
  const place = `new URL(${JSON.stringify(relative(outdir, path))}, import.meta.url).href`;
  return readFileSync(path, "utf8").replaceAll("import.meta.url", place);
}

/** What packages require and nothing here leads to, by who requires it. It is left out, and what would be used of it throws. */
const UNUSED = {
  // Commands that are programs of their own.
  commander: ["node:child_process"],
  // Its own compilers (admin-api/validation.ts has ours), HTTP/2, the versions of plugins, injected requests.
  fastify: [
    "@fastify/ajv-compiler",
    "@fastify/fast-json-stringify-compiler",
    "light-my-request",
    "node:http2",
    "semver",
  ],
  // Threads to write in.
  pino: ["thread-stream", "worker_threads"],
  "prom-client": ["./lib/pushgateway", "@opentelemetry/api"],
};
/** What is asked of it all the same. */
const KNOWN = { worker_threads: "isMainThread: true" };

const unused = {
  name: "unused",
  setup({ onResolve, onLoad }) {
    for (const [by, names] of Object.entries(UNUSED)) {
      onResolve({ filter: new RegExp(`^(${names.join("|")})$`) }, ({ path, importer }) =>
        importer.includes(`/node_modules/${by}/`) ? { path, namespace: "unused" } : undefined,
      );
    }
    onLoad({ filter: /./, namespace: "unused" }, ({ path }) => ({
      contents: `module.exports = new Proxy({ ${KNOWN[path] ?? ""} }, { get(known, name) {
        if (Object.hasOwn(known, name)) return known[name];
        throw new Error(\`\${String(name)} of ${path} is not part of the bundle (tools/bundle.mjs)\`);
      } });`,
    }));
  },
};

const ours = {
  name: "ours",
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, async ({ path }) => {
      if (path === FITS) return { contents: await compiledSchema() };
      return path.startsWith(`${dist}/`) ? { contents: placed(path) } : undefined;
    });
  },
};

rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: ["handoffd", "handoffctl"].map((name) => join(dist, "cli", `${name}.js`)),
  outdir,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  // In memory the source counts. Lines stay: a stack can be read, with or without the map. Names stay too, but for a digit after
  // some; to keep those as well (keepNames) each closure would be given its name when it is made, at every request.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 160,
  sourcemap: true,
  banner: { js: BANNER },
  plugins: [ours, unused],
  logLevel: "warning",
});
