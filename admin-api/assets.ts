/** The files of the page, as `npm run build` has made them. A daemon that nobody looks at never reads them. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

export interface Asset {
  readonly body: Buffer;
  /** The same, by gzip. */
  readonly packed: Buffer;
  /** Quoted, as the header has it. */
  readonly etag: string;
}

interface AssetDescription {
  readonly path: string;
  readonly file: string;
  readonly type: "text/html" | "text/javascript" | "text/css" | "image/svg+xml";
  readonly id: string;
  readonly summary: string;
}

export const ASSETS: readonly AssetDescription[] = [
  { path: "/", file: "index.html", type: "text/html", id: "getDashboard", summary: "The page for people." },
  {
    path: "/dashboard/app.js",
    file: "app.js",
    type: "text/javascript",
    id: "getDashboardScript",
    summary: "What the page does.",
  },
  {
    path: "/dashboard/app.css",
    file: "app.css",
    type: "text/css",
    id: "getDashboardStyle",
    summary: "How the page looks.",
  },
  {
    path: "/dashboard/icon.svg",
    file: "icon.svg",
    type: "image/svg+xml",
    id: "getDashboardIcon",
    summary: "The page's icon.",
  },
];

/** All are read when one is asked for first, and kept: an upgrade of the package must not mix two versions of the page. */
export class Assets {
  readonly #load: () => Promise<ReadonlyMap<string, Asset>>;
  #all: Promise<ReadonlyMap<string, Asset>> | null = null;

  constructor(load = loadBuilt) {
    this.#load = load;
  }

  /** `path`: one of ASSETS. Throws what the file system says of a package that is not whole. */
  async read(path: string): Promise<Asset> {
    this.#all ??= this.#load().catch((error: unknown) => {
      this.#all = null;
      throw error;
    });
    const asset = (await this.#all).get(path);
    if (asset === undefined) throw new Error(`the page has no ${path}`);
    return asset;
  }
}

async function loadBuilt(): Promise<ReadonlyMap<string, Asset>> {
  const folder = built();
  const entries = ASSETS.map(async ({ path, file }) => [path, await assetOf(new URL(file, folder))] as const);
  return new Map(await Promise.all(entries));
}

async function assetOf(file: URL): Promise<Asset> {
  const body = await readFile(file);
  const packed = await promisify(gzip)(body, { level: 9 });
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return { body, packed, etag };
}

/** From the sources this file is admin-api/assets.ts, compiled it is dist/admin-api/assets.js. */
function built(): URL {
  const places = ["./dashboard/", "../dist/admin-api/dashboard/"].map(
    (path) => new URL(path, import.meta.url),
  );
  const found = places.find((place) => existsSync(new URL("app.js", place)));
  if (found === undefined) throw new Error("the page was not built: run `npm run build`");
  return found;
}
