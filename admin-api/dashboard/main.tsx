/** Puts the page together: the token of this tab, what keeps the state up to date, and the drawing of it. */
import { render } from "preact";

import type { DeployList } from "../schemas.ts";
import { Api, Refusal } from "./api.ts";
import { type Answers, send } from "./asking.ts";
import { Live } from "./live.ts";
import { Page } from "./page.tsx";
import { type Action, initial, reduce } from "./state.ts";

/** In this tab only, until it is closed. Never in the address, a cookie or the disk. */
const TOKEN = "handoffd.token";
const TICK_MS = 1_000;

const root = document.querySelector("#page");
if (root === null) throw new Error("the page has no place to be drawn in");
root.replaceChildren();

const api = new Api(new URL(document.baseURI), sessionStorage.getItem(TOKEN));
let state = initial(Date.now());
let isDrawing = false;
let live: Live;
let running = new AbortController();

function dispatch(action: Action): void {
  state = reduce(state, action);
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(draw);
}

function draw(): void {
  isDrawing = false;
  document.title = titleOf();
  render(<Page state={state} acts={acts} />, root as Element);
}

/** What is going on, for a tab that nobody looks at. */
function titleOf(): string {
  const deploy = state.status?.services.find((service) => service.deploy !== null)?.deploy ?? null;
  if (state.link.kind === "lost") return "no answer · handoffd";
  return deploy === null ? "handoffd" : `${deploy.service} ${deploy.phase} · handoffd`;
}

function connect(): void {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  live = new Live({
    api,
    dispatch,
    signal,
    now: () => Date.now(),
    isVisible: () => document.visibilityState === "visible",
  });
  void live.run().finally(() => {
    // Someone must sign in: until then nothing is asked.
    if (!signal.aborted) running.abort();
  });
}

const acts: Answers = {
  ask: (question) => dispatch({ type: "ask", question }),
  leave: () => dispatch({ type: "leave" }),
  async confirm(question, given) {
    dispatch({ type: "send" });
    try {
      dispatch({ type: "answered", what: await send(api, question, given) });
      live.refresh();
    } catch (error) {
      dispatch({ type: "refused", refusal: said(error) });
    }
  },
  signIn(token) {
    api.token = token;
    sessionStorage.setItem(TOKEN, token);
    dispatch({ type: "link", link: { kind: "connecting" }, nowMs: Date.now() });
    connect();
  },
  signOut() {
    running.abort();
    sessionStorage.removeItem(TOKEN);
    api.token = null;
    dispatch({ type: "locked", why: null });
  },
  async showOlder(before) {
    try {
      const { body: page } = await api.get<DeployList>(
        `v1/deploys?limit=20&before=${encodeURIComponent(before)}`,
      );
      dispatch({ type: "deploys", page, isOlder: true });
    } catch (error) {
      dispatch({ type: "refused", refusal: said(error) });
    }
  },
};

function said(error: unknown): string {
  return error instanceof Refusal
    ? error.message
    : "The daemon did not answer: whether it heard is not known.";
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") live.refresh();
});
setInterval(() => {
  if (document.visibilityState === "visible") dispatch({ type: "tick", nowMs: Date.now() });
}, TICK_MS);
connect();
draw();
