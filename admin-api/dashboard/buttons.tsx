import { LABELS } from "./asking.ts";
import type { Verb } from "./rights.ts";

interface ButtonsProps {
  readonly verbs: readonly Verb[];
  readonly ask: (verb: Verb) => void;
  readonly about: string;
}

export function Buttons({ verbs, ask, about }: ButtonsProps) {
  if (verbs.length === 0) return null;
  return (
    <div class="acts" role="group" aria-label={`What can be asked of ${about}`}>
      {verbs.map((verb, index) => (
        <button
          key={verb}
          type="button"
          class={index === 0 ? "act main" : "act"}
          data-verb={verb}
          onClick={() => ask(verb)}
        >
          {LABELS[verb]}
        </button>
      ))}
    </div>
  );
}
