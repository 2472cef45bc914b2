// The page at GET / of the admin API: admin-api/dashboard as the browser gets it, in dist/admin-api/dashboard.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = new URL("..", import.meta.url);
const from = new URL("admin-api/dashboard/", root);
const to = new URL("dist/admin-api/dashboard/", root);
const { version } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));

// What is bundled asks that its licence goes with it.
const NOTICE = `/*! handoffd ${version}. With preact and uPlot; the licences of all are in LICENSES.txt beside this file. */`;
const LICENSES = ["LICENSE", "node_modules/preact/LICENSE", "node_modules/uplot/LICENSE"];

mkdirSync(to, { recursive: true });
await build({
  entryPoints: [fileURLToPath(new URL("main.tsx", from)), fileURLToPath(new URL("app.css", from))],
  outdir: fileURLToPath(to),
  entryNames: "app",
  bundle: true,
  minify: true,
  format: "esm",
  platform: "browser",
  // What has AbortSignal.any, <dialog> and inset(): two years of browsers.
  target: ["chrome116", "firefox124", "safari17.4"],
  tsconfig: fileURLToPath(new URL("tsconfig.json", from)),
  define: { VERSION: JSON.stringify(version), "process.env.NODE_ENV": '"production"' },
  banner: { js: NOTICE, css: NOTICE },
  legalComments: "none",
  logLevel: "warning",
});
for (const name of ["index.html", "icon.svg"]) copyFileSync(new URL(name, from), new URL(name, to));
const licenses = LICENSES.map((file) => `${file}\n\n${readFileSync(new URL(file, root), "utf8")}`);
writeFileSync(new URL("LICENSES.txt", to), licenses.join("\n\n"));
