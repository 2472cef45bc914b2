import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parseDocument } from "yaml";

const root = fileURLToPath(new URL("../", import.meta.url));
const NOT_OURS = new Set([".git", "node_modules", "build", "dist", "__pycache__"]);
const ROOMS = ["handoff", "deploy", "daemon", "admin-api", "cli"];
const LONGEST_FILE = 400;

/** Every file of the project, as paths from its root. Without git, since a release has no history. */
function filesUnder(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    // .git is a file in a second work tree.
    if (NOT_OURS.has(entry.name)) return [];
    if (entry.isDirectory()) return filesUnder(path);
    return entry.isFile() ? [path] : [];
  });
}

const files = filesUnder("");
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const pages = files.filter((file) => file.endsWith(".md"));

interface Block {
  readonly language: string;
  readonly text: string;
}

function codeBlocks(page: string): Block[] {
  return [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = "", text = ""]) => ({
    language,
    text,
  }));
}

/** The anchors that GitHub makes of a page's headings. */
function anchors(page: string): Set<string> {
  const prose = page.replaceAll(/^```[\s\S]*?^```$/gm, "");
  return new Set(
    [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
        .trim()
        .replaceAll(/\s/g, "-"),
    ),
  );
}

/** The targets of a page's links and pictures, without those in code. */
function links(page: string): string[] {
  const prose = page.replaceAll(/^```[\s\S]*?^```$/gm, "").replaceAll(/`[^`\n]*`/g, "code");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
}

/** What is wrong with a relative link; nothing when it leads somewhere. */
function brokenLink(from: string, target: string): string[] {
  if (/^[a-z]+:/.test(target)) return [];
  const [path = "", anchor] = target.split("#");
  const file = path === "" ? from : join(dirname(from), path);
  if (!existsSync(join(root, file))) return [`${from}: ${target}`];
  if (anchor === undefined || !file.endsWith(".md")) return [];
  return anchors(read(file)).has(anchor) ? [] : [`${from}: ${target} (no such heading)`];
}

describe("the documents", () => {
  it("link to nothing that is not there", () => {
    expect(pages).toEqual(expect.arrayContaining(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]));
    expect(pages.flatMap((page) => links(read(page)).flatMap((target) => brokenLink(page, target)))).toEqual(
      [],
    );
  });

  it("are all reached from the README", () => {
    const reached = new Set<string>(["README.md"]);
    for (const page of reached) {
      for (const target of links(read(page))) {
        const path = relative(root, join(root, dirname(page), target.split("#")[0] ?? ""));
        if (pages.includes(path)) reached.add(path);
      }
    }
    expect(pages.filter((page) => page.startsWith("docs/") && !reached.has(page))).toEqual([]);
  });

  it("show YAML that can be read and shell commands that a shell can parse", () => {
    const problems: string[] = [];
    for (const page of pages) {
      for (const { language, text } of codeBlocks(read(page))) {
        if (language === "yaml") {
          const { errors } = parseDocument(text);
          problems.push(...errors.map((error) => `${page}: ${error.message}`));
        }
        if (language === "bash") {
          try {
            execFileSync("bash", ["-n"], { input: text, stdio: ["pipe", "ignore", "pipe"] });
          } catch (error) {
            problems.push(`${page}: ${String(error)}`);
          }
        }
      }
    }
    expect(problems).toEqual([]);
  });

  it("name npm scripts and files of bin/ that exist", () => {
    const { scripts, bin } = JSON.parse(read("package.json")) as {
      scripts: Record<string, string>;
      bin: Record<string, string>;
    };
    const missing: string[] = [];
    for (const page of pages) {
      const text = read(page);
      for (const [, name = ""] of text.matchAll(/npm run ([a-z][a-z:-]*)/g)) {
        if (!(name in scripts)) missing.push(`${page}: npm run ${name}`);
      }
      for (const [, name = ""] of text.matchAll(/\bnpm (start|test)\b/g)) {
        if (!(name in scripts)) missing.push(`${page}: npm ${name}`);
      }
      for (const [path = ""] of text.matchAll(/(?<![\w/])bin\/handoff\w+/g)) {
        if (!Object.values(bin).includes(path)) missing.push(`${page}: ${path}`);
      }
    }
    expect(missing).toEqual([]);
  });

  it("open the changelog with what is unreleased", () => {
    expect(/^## (.+)$/m.exec(read("CHANGELOG.md"))?.[1]).toBe("[Unreleased]");
  });
});

describe("package.json", () => {
  const manifest = JSON.parse(read("package.json")) as {
    license: string;
    scripts: Record<string, string>;
    bin: Record<string, string>;
    files: string[];
  };

  it("names scripts, programs and folders that are there", () => {
    const scripts = Object.values(manifest.scripts).flatMap((script) =>
      [...script.matchAll(/\bnode (\S+\.mjs)/g)].map(([, path = ""]) => path),
    );
    const named = [
      ...scripts,
      ...Object.values(manifest.bin),
      ...manifest.files.filter((path) => path !== "dist"),
    ];
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  it("has programs that can be run", () => {
    const paths = Object.values(manifest.bin);
    expect(paths.filter((path) => (statSync(join(root, path)).mode & 0o111) !== 0o111)).toEqual([]);
  });

  it("says MIT, as the LICENSE does", () => {
    expect(manifest.license).toBe("MIT");
    expect(read("LICENSE")).toMatch(/^MIT License$/m);
    expect(read("LICENSE")).toContain("Permission is hereby granted, free of charge");
  });

  it("has a lock file in which every package has a version and none a host", () => {
    const lock = JSON.parse(read("package-lock.json")) as {
      packages: Record<string, { version?: string; resolved?: string }>;
    };
    const wrong = Object.entries(lock.packages).filter(
      ([, entry]) => entry.version === undefined || entry.resolved !== undefined,
    );
    expect(wrong.map(([name]) => name)).toEqual([]);
  });
});

describe("the sources", () => {
  it("have no file so long that it is looking for a noun", () => {
    const long = files
      .filter((file) => ROOMS.some((room) => file.startsWith(`${room}/`)) && /\.(ts|cpp|c|h)$/.test(file))
      .map((file) => ({ file, lines: read(file).split("\n").length - 1 }))
      .filter(({ lines }) => lines > LONGEST_FILE);
    expect(long).toEqual([]);
  });

  it("name no path of the machine that they were written on, and no registry that the packages came from", () => {
    // Put together here, so that this file does not name them either.
    const paths = [
      ["", "work", ""],
      ["", "tmp", "bash_jobs"],
      ["", "root", ""],
      ["", "home", ""],
    ].map((parts) => parts.join("/"));
    const hosts = [
      ["registry", "npmjs", "org"],
      ["docker", "io"],
      ["deb", "debian", "org"],
    ].map((parts) => parts.join("\\."));
    // A whole path, and not the end of a longer one such as that of a folder in /usr/share.
    const forbidden = [
      ...paths.map((path) => `(?<![\\w.})-])${path}`),
      ...hosts.map((host) => `\\b${host}\\b`),
    ];
    const found = files.flatMap((file) => {
      const text = read(file);
      return forbidden
        .filter((pattern) => new RegExp(pattern).test(text))
        .map((pattern) => `${file}: ${pattern}`);
    });
    expect(found).toEqual([]);
  });
});
