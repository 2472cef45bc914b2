import type { Deploy } from "../schemas.ts";
import type { Answers } from "./asking.ts";
import { outcomeOf } from "./deploy-panel.tsx";
import { serverMsOf, type State } from "./state.ts";
import { age, duration } from "./words.ts";

/** Who deployed what, how it ended and why. */
export function History({ state, acts }: { readonly state: State; readonly acts: Answers }) {
  const { deploys, olderDeploys } = state;
  const serverMs = serverMsOf(state);
  return (
    <section class="card history" aria-labelledby="history">
      <h2 id="history">History</h2>
      {deploys.length === 0 ? (
        <p class="empty">Nothing has been deployed yet.</p>
      ) : (
        <table role="table" aria-labelledby="history">
          <thead role="rowgroup">
            <tr role="row">
              {["When", "Deploy", "Version", "Who", "Took", "Outcome and why"].map((title) => (
                <th key={title} scope="col" role="columnheader">
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody role="rowgroup">
            {deploys.map((deploy) => (
              <Row key={deploy.startedAt + deploy.id} deploy={deploy} serverMs={serverMs} />
            ))}
          </tbody>
        </table>
      )}
      {olderDeploys !== null && (
        <button type="button" class="act" onClick={() => void acts.showOlder(olderDeploys)}>
          Older
        </button>
      )}
    </section>
  );
}

function Row({ deploy, serverMs }: { readonly deploy: Deploy; readonly serverMs: number }) {
  const { id, strategy, from, to, version, phase, requestedBy, startedAt, finishedAt, reason } = deploy;
  const took = (finishedAt === null ? serverMs : Date.parse(finishedAt)) - Date.parse(startedAt);
  const outcome = finishedAt === null ? "running" : outcomeOf(phase);
  const sign = { running: "▸", good: "✓", bad: "✕" }[outcome];
  return (
    <tr role="row" data-deploy={id}>
      <td role="cell" data-title="When">
        <time dateTime={startedAt} title={startedAt}>
          {age(serverMs - Date.parse(startedAt))} ago
        </time>
      </td>
      <th scope="row" role="rowheader" class="name">
        <code>{id}</code>
        <small>
          {strategy}, {from ?? "none"} → {to}
        </small>
      </th>
      <td role="cell" data-title="Version" class="version">
        {version ?? "–"}
      </td>
      <td role="cell" data-title="Who">
        {requestedBy}
      </td>
      <td role="cell" data-title="Took">
        {duration(took)}
      </td>
      <td role="cell" data-title="Outcome" class="outcome">
        <b class={outcome}>
          <span aria-hidden="true">{sign}</span> {phase}
        </b>
        {reason !== null && <span class="why">{reason.message}</span>}
      </td>
    </tr>
  );
}
