import type { Answers } from "./asking.ts";
import { type Link, serverMsOf, type State } from "./state.ts";
import { age } from "./words.ts";

/** Built in: the version that the page is of. */
declare const VERSION: string;

export function Header({ state, acts }: { readonly state: State; readonly acts: Answers }) {
  const { status, caller, link } = state;
  return (
    <header class="top">
      <h1>
        <img src="dashboard/icon.svg" alt="" width="22" height="22" />
        handoffd
      </h1>
      {status !== null && (
        <p class="daemon">
          <span>{status.version}</span>
          <span>pid {status.pid}</span>
          <span>up {age(serverMsOf(state) - Date.parse(status.startedAt))}</span>
          {status.upgrades > 0 && (
            <span>upgraded {status.upgrades === 1 ? "once" : `${String(status.upgrades)} times`}</span>
          )}
          {status.version !== VERSION && (
            <a class="renew" href="">
              This page is of {VERSION}: load it again
            </a>
          )}
        </p>
      )}
      <Connection link={link} state={state} />
      {caller !== null && link.kind !== "locked" && (
        <p class="caller">
          <span>
            <b>{caller.name}</b> · {caller.role}
          </span>
          <button type="button" class="quiet" onClick={acts.signOut}>
            {caller.name === "anonymous" ? "Sign in" : "Sign out"}
          </button>
        </p>
      )}
    </header>
  );
}

const MARKS: Readonly<Record<Link["kind"], readonly [mark: string, text: string]>> = {
  connecting: ["…", "connecting"],
  live: ["●", "live"],
  polling: ["◐", "asking every second"],
  lost: ["✕", "no answer"],
  locked: ["○", "signed out"],
};

/** Not said aloud each second: the announcements say when it changes. */
function Connection({ link, state: { lastSeenMs, nowMs } }: { readonly link: Link; readonly state: State }) {
  const [mark, text] = MARKS[link.kind];
  const seen =
    link.kind === "lost" && lastSeenMs !== null ? `, last seen ${age(nowMs - lastSeenMs)} ago` : "";
  return (
    <p class={`link ${link.kind}`}>
      <span aria-hidden="true">{mark}</span> {text}
      {seen}
    </p>
  );
}
