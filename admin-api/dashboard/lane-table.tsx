import type { Lane } from "./lanes.ts";
import type { Verb } from "./rights.ts";
import { counted, percent } from "./words.ts";

/** Who gets new connections, as one bar. What it says stands in the table below it too, in words. */
export function Split({ lanes }: { readonly lanes: readonly Lane[] }) {
  // In the order of their numbers, so that a shift grows from the right, and those that get none stay ready to.
  const shown = lanes
    .filter(({ state }) => state === "serving" || state === "standby")
    .sort((a, b) => a.number - b.number);
  if (shown.length === 0) return null;
  const words = shown
    .map(({ number, weight }) => `generation ${String(number)} ${percent(weight)}`)
    .join(", ");
  return (
    <div class="split" role="img" aria-label={`New connections: ${words}`}>
      {shown.map(({ number, weight, hue }) => (
        <div key={number} class={hue} style={{ flexGrow: weight }} data-weight={weight}>
          <span>
            <span class="which">{number} · </span>
            {percent(weight)}
          </span>
        </div>
      ))}
    </div>
  );
}

interface LaneTableProps {
  readonly lanes: readonly Lane[];
  readonly service: string;
  readonly isOffered: boolean;
  readonly ask: (verb: Verb, generation: number) => void;
}

/** On a narrow screen its rows are laid out as cards, which takes a table's meaning away: the roles give it back. */
export function LaneTable({ lanes, service, isOffered, ask }: LaneTableProps) {
  return (
    <table class="lanes" role="table" aria-label={`Generations of ${service}`}>
      <thead role="rowgroup">
        <tr role="row">
          {["Generation", "Version", "New connections", "Open", "Queue", "Instances", "Time"].map((title) => (
            <th
              key={title}
              scope="col"
              role="columnheader"
              class={title === "Open" || title === "Queue" ? "number" : ""}
            >
              {title}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {lanes.map((lane) => (
          <Row key={lane.number} lane={lane} isOffered={isOffered} ask={ask} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ lane, isOffered, ask }: { readonly lane: Lane } & Pick<LaneTableProps, "isOffered" | "ask">) {
  const { number, role, hue, state, version, weight, connections, queue, instances, restarts, remark } = lane;
  return (
    <tr role="row" class={`lane ${hue}`} data-generation={number}>
      <th scope="row" role="rowheader" class="name">
        <span class="chip">{number}</span>
        <span class="role">{role === "other" ? state : role}</span>
      </th>
      <td role="cell" data-title="Version" class="version">
        {version ?? "–"}
      </td>
      <td role="cell" data-title="New connections" class="weight">
        <span class="bar" aria-hidden="true">
          <i style={{ width: `${String(weight * 100)}%` }} />
        </span>
        <b>{percent(weight)}</b>
      </td>
      <td role="cell" data-title="Open" class="number">
        {connections ?? <abbr title="not counted">–</abbr>}
      </td>
      <td role="cell" data-title="Queue" class={queue.length > 0 ? "number some" : "number"}>
        {state === "draining" && queue.limit === 0 ? "–" : queue.length}
      </td>
      <td role="cell" data-title="Instances">
        {instances}
        {restarts > 0 && <em> {counted(restarts, "restart")}</em>}
      </td>
      <td role="cell" data-title="Time" class="remark">
        {remark}
        {isOffered && state === "draining" && (
          <button
            type="button"
            class="act small"
            data-verb="end"
            onClick={() => ask("end", number)}
            aria-label={`End generation ${String(number)}…`}
          >
            End…
          </button>
        )}
      </td>
    </tr>
  );
}
