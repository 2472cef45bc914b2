/**
 * Debian's Chromium for a test, and what a person at it would mind: requests to other hosts, what the policy forbids, errors,
 * pages wider than the screen, and what axe finds.
 *
 * ```ts
 * await using viewer = await Viewer.open("http://127.0.0.1:9700/");
 * await viewer.page.click("text=Sign in");
 * expect(await viewer.faults()).toEqual([]);
 * ```
 */
import { existsSync } from "node:fs";
import axe, { type AxeResults } from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";
import { environment } from "./processes.ts";

const PROGRAM = "/usr/bin/chromium";

/** Without it the tests that need it are skipped on a person's machine, and fail in CI. */
export const hasChromium = process.env["CI"] !== undefined || existsSync(PROGRAM);
if (!hasChromium) console.warn("skipped: chromium is missing (apt-get install chromium)");

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A phone and a desk. */
export const WIDTHS = [1280, 360] as const;
export const SCHEMES = ["light", "dark"] as const;

export interface Look {
  readonly width: (typeof WIDTHS)[number];
  readonly scheme: (typeof SCHEMES)[number];
}

/** Pairs of lines of text that stand on each other. What is scrolled, clipped or behind a question is not looked at. */
const OVERPRINTED = `(() => {
  const lines = [];
  const shown = document.querySelector("dialog[open]") ?? document.body;
  const texts = document.createTreeWalker(shown, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode;
    if (data.trim() === "" || !parentElement.checkVisibility() || parentElement.closest(".scroll")) continue;
    let isClipped = false;
    for (let each = parentElement; each !== null; each = each.parentElement)
      isClipped ||= getComputedStyle(each).clipPath !== "none";
    if (isClipped) continue;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    for (const box of range.getClientRects()) lines.push({ data, box });
  }
  const isOn = ({ box: a }, { box: b }) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 5;
  return lines.flatMap((one, index) =>
    lines.slice(index + 1).filter((other) => isOn(one, other)).map((other) => one.data + " is on " + other.data));
})()`;

export class Viewer implements AsyncDisposable {
  readonly page: Page;
  /** What the browser had to complain about so far. A 401 is how the page learns that it has to ask for a token. */
  readonly complaints: string[] = [];
  readonly #browser: Browser;

  private constructor(browser: Browser, page: Page, origin: string) {
    this.#browser = browser;
    this.page = page;
    const context = page.context();
    context.on("weberror", (error) => void this.complaints.push(String(error.error())));
    context.on("console", (message) => {
      const said = message.text();
      if (!["error", "warning"].includes(message.type()) || said.includes("status of 401")) return;
      this.complaints.push(said);
    });
    context.on("request", (request) => {
      if (new URL(request.url()).origin !== origin) this.complaints.push(`asked for ${request.url()}`);
    });
  }

  static async open(url: string): Promise<Viewer> {
    if (!existsSync(PROGRAM)) throw new Error("chromium is missing: apt-get install chromium");
    const browser = await chromium.launch({ executablePath: PROGRAM, args: FLAGS, env: environment() });
    try {
      const context = await browser.newContext({ reducedMotion: "reduce", serviceWorkers: "block" });
      context.setDefaultTimeout(20_000);
      const viewer = new Viewer(browser, await context.newPage(), new URL(url).origin);
      await viewer.page.goto(url);
      return viewer;
    } catch (error) {
      await browser.close();
      throw error;
    }
  }

  /** Shows the page so, and returns when it has been drawn so. */
  async look({ width, scheme }: Look): Promise<void> {
    await this.page.setViewportSize({ width, height: width === 360 ? 740 : 900 });
    await this.page.emulateMedia({ colorScheme: scheme });
    await this.page.evaluate(
      "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))",
    );
  }

  /** What is wrong with what is shown now: serious or critical for axe, or wider than the screen. */
  async faults(): Promise<readonly string[]> {
    await this.page.evaluate(axe.source);
    const { violations } = await this.page.evaluate<AxeResults>('axe.run({ resultTypes: ["violations"] })');
    const found = violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .flatMap(({ id, help, nodes }) => nodes.map(({ html }) => `${id}: ${help}: ${html}`));
    const wide = await this.page.evaluate<number>("document.documentElement.scrollWidth - innerWidth");
    const printed = await this.page.evaluate<string[]>(OVERPRINTED);
    return [...found, ...printed, ...(wide > 0 ? [`${String(wide)} px wider than the screen`] : [])];
  }

  /** Presses Tab until the focus is on it, as someone without a mouse does. */
  async tabTo(selector: string): Promise<void> {
    for (let pressed = 0; pressed < 30; pressed += 1) {
      await this.page.keyboard.press("Tab");
      if (await this.has(selector)) return;
    }
    throw new Error(`the Tab key does not reach ${selector}`);
  }

  /** Whether the focus is on it. */
  has(selector: string): Promise<boolean> {
    return this.page.evaluate<boolean>(
      `document.activeElement?.matches(${JSON.stringify(selector)}) ?? false`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}
