import type { Listener, Service } from "../schemas.ts";
import type { Answers } from "./asking.ts";
import { Buttons } from "./buttons.tsx";
import { DeployPanel } from "./deploy-panel.tsx";
import { deployOf, lanesOf } from "./lanes.ts";
import { LaneTable, Split } from "./lane-table.tsx";
import { Plots } from "./plots.tsx";
import { serviceVerbs, type Verb, withheld } from "./rights.ts";
import { serverMsOf, type State } from "./state.ts";
import { age, counted, percent } from "./words.ts";

interface CardProps {
  readonly service: Service;
  readonly state: State;
  readonly acts: Answers;
}

/** One service: who serves it, what is being done to it, and what a person may do. */
export function ServiceCard({ service, state, acts }: CardProps) {
  const { status, caller, deploys, samples, link } = state;
  const serverMs = serverMsOf(state);
  const { name, held, pending = [], leaving = false } = service;
  const listeners = (status?.listeners ?? []).filter(({ slots }) =>
    slots.some(({ generation }) => generation?.slice(0, generation.lastIndexOf("/")) === name),
  );
  const lanes = lanesOf(service, listeners, serverMs);
  const deploy = deployOf(service, deploys);
  const reason = caller === null ? null : withheld(caller, name);
  // Nobody would hear it.
  const isOffered = caller !== null && reason === null && link.kind !== "lost";
  const ask = (verb: Verb, generation: number | null = service.current): void =>
    acts.ask({ verb, service: name, deploy: deploy?.id ?? null, generation, state: "open", refusal: null });
  return (
    <section class="card" aria-labelledby={`service-${name}`}>
      <header>
        <h2 id={`service-${name}`}>{name}</h2>
        <Badge state={leaving ? "leaving" : service.state} />
        <p class="addresses">
          {listeners.map((listener) => (
            <code key={listener.name}>
              {listener.name} {listener.protocol}:{listener.address}
            </code>
          ))}
        </p>
        {isOffered && <Buttons verbs={serviceVerbs(service)} ask={ask} about={name} />}
      </header>
      {held !== null && (
        <p class="note held">
          Held for {age(serverMs - Date.parse(held.since))} by {held.requestedBy}:{" "}
          <b>{counted(held.waiting, "connection")}</b> {held.waiting === 1 ? "waits" : "wait"} in the kernel's
          queue
          {held.idles ? ", and the generation that served idles" : ""}.
        </p>
      )}
      {deploy !== null && <DeployPanel deploy={deploy} serverMs={serverMs} isOffered={isOffered} ask={ask} />}
      <Split lanes={lanes} />
      <LaneTable lanes={lanes} service={name} isOffered={isOffered} ask={ask} />
      {pending.length > 0 && (
        <p class="note">
          The next deploy brings into force: <code>{pending.join(", ")}</code>
        </p>
      )}
      <Plots samples={samples[name] ?? []} lanes={lanes} />
      <Slots listeners={listeners} />
      {reason !== null && <p class="note rights">{reason}</p>}
    </section>
  );
}

const SIGNS: Readonly<Record<Service["state"] | "leaving", string>> = {
  running: "●",
  starting: "◔",
  held: "❚❚",
  degraded: "▲",
  stopped: "■",
  leaving: "↘",
};

function Badge({ state }: { readonly state: Service["state"] | "leaving" }) {
  return (
    <span class={`badge ${state}`}>
      <span aria-hidden="true">{SIGNS[state]}</span> {state === "leaving" ? "being removed" : state}
    </span>
  );
}

/** The kernel's own view, for whoever wants it. */
function Slots({ listeners }: { readonly listeners: readonly Listener[] }) {
  const slots = listeners.reduce((sum, listener) => sum + listener.slots.length, 0);
  return (
    <details class="slots">
      <summary>{`${counted(listeners.length, "listener")}, ${counted(slots, "slot")}`}</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label="Slots">
        <table>
          <thead>
            <tr>
              <th scope="col">Listener</th>
              <th scope="col">Mode</th>
              <th scope="col" class="number">
                Slot
              </th>
              <th scope="col">Generation</th>
              <th scope="col" class="number">
                Weight
              </th>
              <th scope="col" class="number">
                Queue
              </th>
            </tr>
          </thead>
          <tbody>
            {listeners.flatMap((listener) =>
              listener.slots.map((slot) => (
                <tr key={`${listener.name} ${String(slot.index)}`}>
                  <td>{listener.name}</td>
                  <td>{listener.mode}</td>
                  <td class="number">{slot.index}</td>
                  <td>
                    {slot.generation ??
                      (slot.held === undefined
                        ? "free"
                        : `held by ${slot.held.map(({ pid }) => pid).join(", ")}`)}
                  </td>
                  <td class="number">{percent(slot.weight)}</td>
                  <td class="number">
                    {slot.queue.length}/{slot.queue.limit}
                  </td>
                </tr>
              )),
            )}
          </tbody>
        </table>
      </div>
    </details>
  );
}
