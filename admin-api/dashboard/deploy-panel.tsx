import type { Deploy, Phase } from "../schemas.ts";
import { Buttons } from "./buttons.tsx";
import { phasesOf, type PhaseView, remainingOf } from "./lanes.ts";
import { deployVerbs, type Verb } from "./rights.ts";
import { age, countdown, duration, percent } from "./words.ts";

interface DeployPanelProps {
  readonly deploy: Deploy;
  readonly serverMs: number;
  readonly isOffered: boolean;
  readonly ask: (verb: Verb) => void;
}

/** The deploy that is under way, or how the last one ended. */
export function DeployPanel({ deploy, serverMs, isOffered, ask }: DeployPanelProps) {
  const { id, service, strategy, from, to, version, requestedBy, startedAt, finishedAt } = deploy;
  const { phase, paused, reason } = deploy;
  const isOver = finishedAt !== null;
  const went = isOver
    ? `${age(serverMs - Date.parse(finishedAt))} ago`
    : `for ${age(serverMs - Date.parse(startedAt))}`;
  return (
    <section
      class={`deploy ${isOver ? outcomeOf(phase) : "running"}`}
      aria-label={`Deploy ${id}`}
      data-phase={phase}
    >
      <header>
        <h3>
          {isOver ? "Last deploy" : "Deploy"} <code>{id}</code>
        </h3>
        <p>
          {strategy}, {from === null ? "first start of" : `generation ${String(from)} →`} <b>{to}</b>
          {version !== null && (
            <>
              {" "}
              (version <b>{version}</b>)
            </>
          )}
          , by {requestedBy}, {isOver ? <b>{phase}</b> : null} {went}
        </p>
        {isOffered && <Buttons verbs={deployVerbs(deploy)} ask={ask} about={`deploy ${id} of ${service}`} />}
      </header>
      <ol class="phases">
        {phasesOf(deploy, serverMs).map((one, index) => (
          <Step key={`${one.phase} ${String(index)}`} view={one} />
        ))}
      </ol>
      {!isOver && <Meanwhile deploy={deploy} serverMs={serverMs} isPaused={paused} />}
      {reason !== null && (
        <p class="reason">
          <code>{reason.code}</code> {reason.message}
        </p>
      )}
    </section>
  );
}

export function outcomeOf(phase: Phase): "good" | "bad" {
  return phase === "succeeded" ? "good" : "bad";
}

const SIGNS: Readonly<Record<PhaseView["progress"], readonly [sign: string, word: string]>> = {
  done: ["✓", "done"],
  now: ["▸", "now"],
  next: ["·", "still to come"],
  failed: ["✕", "so it ended"],
};

function Step({ view: { phase, progress, ms } }: { readonly view: PhaseView }) {
  const [sign, word] = SIGNS[progress];
  return (
    <li class={progress} aria-current={progress === "now" ? "step" : undefined}>
      <span class="sign" aria-hidden="true">
        {sign}
      </span>
      <span class="phase">{phase}</span>
      <span class="unseen">, {word}</span>
      {ms !== null && <span class="took">{duration(ms)}</span>}
    </li>
  );
}

/** Where it stands, and for how long by itself. */
function Meanwhile({
  deploy,
  serverMs,
  isPaused,
}: {
  readonly deploy: Deploy;
  readonly serverMs: number;
  readonly isPaused: boolean;
}) {
  const { step, weight, phase, touched, pinned } = deploy;
  const remaining = remainingOf(deploy, serverMs);
  const facts = [
    ...(phase === "shifting" && step !== null
      ? [`step ${String(step.index + 1)} of ${String(step.of)}`]
      : []),
    ...(weight > 0 && weight < 1 ? [`${percent(weight)} of new connections`] : []),
    ...(touched !== null && touched.forMs >= 1000 ? [`users have met it for ${age(touched.forMs)}`] : []),
    ...(pinned ? ["pinned networks reach it"] : []),
  ];
  return (
    <div class="meanwhile">
      {isPaused && <p class="paused">❚❚ paused: it stays here until someone continues or promotes it</p>}
      {remaining !== null && (
        <>
          <span class="bar" aria-hidden="true">
            <i style={{ width: `${String(remaining.fraction * 100)}%` }} />
          </span>
          <p class="left">
            <b role="timer">{countdown(remaining.ms)}</b> {remaining.then}
          </p>
        </>
      )}
      {facts.length > 0 && <p class="facts">{facts.join(" · ")}</p>}
    </div>
  );
}
