import { newsOf, type State } from "./state.ts";

/** The newest first. It is no live region: what matters of it is announced, and not everything does. */
export function Events({ state: { events } }: { readonly state: State }) {
  return (
    <section class="card events" aria-labelledby="events">
      <h2 id="events">Events</h2>
      {events.length === 0 ? (
        <p class="empty">Nothing has happened since the daemon was started.</p>
      ) : (
        <ol class="scroll" tabIndex={0} aria-labelledby="events">
          {newsOf(events).map(({ id, at, type, message, code }) => (
            <li key={id} class={code === undefined ? "" : "bad"}>
              <time dateTime={at} title={at}>
                {new Date(at).toLocaleTimeString("en-GB")}
              </time>
              <code>{type}</code>
              <span>{message}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
