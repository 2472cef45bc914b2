/** The whole page, out of the state. */
import type { Answers } from "./asking.ts";
import { Dialog } from "./dialog.tsx";
import { Events } from "./events.tsx";
import { Header } from "./header.tsx";
import { History } from "./history.tsx";
import { ServiceCard } from "./service.tsx";
import { SignIn } from "./sign-in.tsx";
import type { State } from "./state.ts";
import { age } from "./words.ts";

export function Page({ state, acts }: { readonly state: State; readonly acts: Answers }) {
  const { link, status, question, announcement } = state;
  return (
    <>
      <a class="skip" href="#services">
        To the services
      </a>
      <Header state={state} acts={acts} />
      <p class="unseen" role="status" aria-live="polite">
        {announcement}
      </p>
      {link.kind === "locked" ? (
        <SignIn why={link.why} acts={acts} />
      ) : (
        <>
          <Gone state={state} />
          {status === null ? (
            <main class="waiting">{link.kind === "lost" ? null : "Asking the daemon…"}</main>
          ) : (
            <Body state={state} acts={acts} />
          )}
        </>
      )}
      {question !== null && (
        <Dialog key={question.verb + question.service} state={state} question={question} acts={acts} />
      )}
    </>
  );
}

function Body({ state, acts }: { readonly state: State; readonly acts: Answers }) {
  const { status } = state;
  if (status === null) return null;
  return (
    <main id="services" tabIndex={-1}>
      <div class="services">
        {status.services.length === 0 && <p class="empty">The configuration has no services.</p>}
        {status.services.map((service) => (
          <ServiceCard key={service.name} service={service} state={state} acts={acts} />
        ))}
      </div>
      <History state={state} acts={acts} />
      <Events state={state} />
    </main>
  );
}

/** What is shown is old, and how old. */
function Gone({ state: { link, lastSeenMs, nowMs } }: { readonly state: State }) {
  if (link.kind !== "lost") return null;
  const seen =
    lastSeenMs === null
      ? ""
      : ` It last answered ${age(nowMs - lastSeenMs)} ago, and what stands here is from then.`;
  return (
    <p class="gone" role="alert">
      <strong>The daemon does not answer</strong> ({link.why}).{seen} Traffic does not go through it: the
      services go on as they are. This page comes back by itself.
    </p>
  );
}
