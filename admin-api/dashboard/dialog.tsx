/** One question at a time, in the browser's own modal dialog: it keeps the focus, gives it back, and Escape leaves it. */
import { useLayoutEffect, useRef } from "preact/hooks";

import { type Answers, wordingOf } from "./asking.ts";
import { deployOf } from "./lanes.ts";
import { type Question, serverMsOf, type State } from "./state.ts";

interface DialogProps {
  readonly state: State;
  readonly question: Question;
  readonly acts: Answers;
}

export function Dialog({ state, question, acts }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  // Before the next key: whoever is quick types into the question, and not into the page behind it.
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  const service = state.status?.services.find(({ name }) => name === question.service);
  if (service === undefined) return null;
  const known = state.deploys.find(({ id }) => id === question.deploy) ?? null;
  const deploy =
    service.deploy?.id === question.deploy ? service.deploy : (known ?? deployOf(service, state.deploys));
  const { title, body, button, isGrave } = wordingOf(question, service, deploy, serverMsOf(state));
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string): string => {
      const value = form.get(name);
      return typeof value === "string" ? value.trim() : "";
    };
    const given = { version: text("version"), instances: Number(text("instances")), idle: form.has("idle") };
    void acts.confirm(question, given);
  };
  return (
    <dialog
      ref={dialog}
      aria-labelledby="question"
      aria-describedby="question-body"
      onCancel={(event) => {
        event.preventDefault();
        acts.leave();
      }}
    >
      <form onSubmit={submit}>
        <h2 id="question">{title}</h2>
        <p id="question-body">{body}</p>
        <Fields
          question={question}
          running={
            service.generations.find(({ number }) => number === service.current)?.instances.length ?? 1
          }
        />
        {question.refusal !== null && (
          <p class="refusal" role="alert">
            {question.refusal}
          </p>
        )}
        <div class="acts">
          <button type="button" class="act" onClick={acts.leave}>
            Cancel
          </button>
          <button
            type="submit"
            class={isGrave === true ? "act grave" : "act main"}
            disabled={question.state === "sent"}
            data-confirm
          >
            {question.state === "sent" ? "Asking…" : button}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function Fields({ question: { verb }, running }: { readonly question: Question; readonly running: number }) {
  if (verb === "deploy") {
    return (
      <label>
        Version
        <input
          name="version"
          autoFocus
          autocomplete="off"
          spellcheck={false}
          pattern="[A-Za-z0-9][A-Za-z0-9._\-]{0,127}"
          title="At most 128 letters, digits, dots, underscores and hyphens"
        />
        <small>Left empty: the release that runs now, once more.</small>
      </label>
    );
  }
  if (verb === "scale") {
    return (
      <label>
        Instances
        <input
          name="instances"
          type="number"
          autoFocus
          required
          min={1}
          max={1024}
          step={1}
          defaultValue={String(running)}
        />
      </label>
    );
  }
  if (verb === "hold") {
    return (
      <label class="choice">
        <input name="idle" type="checkbox" /> The generation that serves keeps running, without new
        connections
      </label>
    );
  }
  return null;
}
