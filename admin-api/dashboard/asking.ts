/** What each verb asks a person, and what it then asks the daemon. */
import type { Deploy, Service } from "../schemas.ts";
import type { Api } from "./api.ts";
import type { Verb } from "./rights.ts";
import type { Question } from "./state.ts";
import { countdown, percent } from "./words.ts";

/** What a person has filled in. */
export interface Given {
  readonly version: string;
  readonly instances: number;
  readonly idle: boolean;
}

/** What the page can do. */
export interface Answers {
  readonly ask: (question: Question) => void;
  readonly leave: () => void;
  readonly confirm: (question: Question, given: Given) => Promise<void>;
  readonly signIn: (token: string) => void;
  readonly signOut: () => void;
  readonly showOlder: (before: string) => Promise<void>;
}

export interface Wording {
  readonly button: string;
  readonly title: string;
  /** What it does, and what it costs to take it back. */
  readonly body: string;
  /** It takes something away from someone. */
  readonly isGrave?: true;
}

export const LABELS: Readonly<Record<Verb, string>> = {
  deploy: "Deploy…",
  promote: "Promote…",
  pause: "Pause…",
  continue: "Continue…",
  abort: "Abort…",
  rollback: "Roll back…",
  restart: "Restart…",
  hold: "Hold…",
  resume: "Resume…",
  scale: "Scale…",
  end: "End…",
};

export function wordingOf(
  { verb, generation }: Question,
  service: Service,
  deploy: Deploy | null,
  serverMs: number,
): Wording {
  const { name, current } = service;
  const from = deploy?.from ?? null;
  const to = deploy?.to ?? null;
  switch (verb) {
    case "deploy":
      return {
        button: "Deploy",
        title: `Deploy ${name}`,
        body: "A new generation starts beside the one that serves, is verified behind the gate, and gets the traffic as the strategy of the configuration says. If it fails, nothing changes.",
      };
    case "promote":
      return {
        button: "Promote",
        title: `Promote ${deploy?.id ?? ""}`,
        body:
          deploy?.phase === "baking"
            ? `${bakeLeft(deploy, serverMs)}Generation ${String(from)} drains from now on; going back after that is a deploy of its own.`
            : `Generation ${String(to)} gets all new connections now. The remaining steps and the bake are skipped, and generation ${String(from)} drains; going back after that is a deploy of its own.`,
      };
    case "pause":
      return {
        button: "Pause",
        title: `Pause ${deploy?.id ?? ""}`,
        body: `It stays where it is (${percent(deploy?.weight ?? 0)} of new connections on generation ${String(to)}) until someone continues or promotes it. It still goes back by itself if its watch or its analysis says so.`,
      };
    case "continue":
      return {
        button: "Continue",
        title: `Continue ${deploy?.id ?? ""}`,
        body: "The pause ends, and the deploy goes on to what comes next.",
      };
    case "abort":
      return {
        button: "Abort",
        title: `Abort ${deploy?.id ?? ""}`,
        body: `New connections go to generation ${String(from)} alone, at once. Those that are open on generation ${String(to)} drain.`,
        isGrave: true,
      };
    case "rollback":
      return deploy?.phase === "baking"
        ? {
            button: "Roll back",
            title: `Roll back ${name} to generation ${String(from)}`,
            body: `Generation ${String(from)} is still warm: new connections reach it at once, and no process is started. Those that are open on generation ${String(to)} drain.`,
            isGrave: true,
          }
        : {
            button: "Roll back",
            title: `Roll back ${name}`,
            body: "The previous release is deployed again, as a new generation with all its proofs. The generation that serves goes on until then.",
            isGrave: true,
          };
    case "restart":
      return {
        button: "Restart",
        title: `Restart ${name}`,
        body: `The release of generation ${String(current)} is deployed again, as a new generation. No connection is lost.`,
      };
    case "hold":
      return {
        button: "Hold",
        title: `Hold ${name}`,
        body: "New connections wait in the kernel's queue until someone resumes. Nobody is refused until the queue is full, but nobody is answered either.",
        isGrave: true,
      };
    case "resume":
      return {
        button: "Resume",
        title: `Resume ${name}`,
        body: `A new generation of the same release takes the ${String(service.held?.waiting ?? 0)} connections that wait, and those that come.`,
      };
    case "scale":
      return {
        button: "Scale",
        title: `Scale ${name}`,
        body: "So many instances run from now on, until the configuration says otherwise. They share the queue of their generation.",
      };
    case "end":
      return {
        button: "End now",
        title: `End generation ${String(generation)} of ${name}`,
        body: `Its drain is over at once: its processes are killed, and the ${openOn(service, generation)} that it has are cut. They are counted in the history with your name.`,
        isGrave: true,
      };
  }
}

function bakeLeft({ until }: Deploy, serverMs: number): string {
  return until === undefined ? "" : `${countdown(Date.parse(until) - serverMs)} of the bake are skipped. `;
}

function openOn({ generations }: Service, number: number | null): string {
  const open = generations.find((one) => one.number === number)?.connections ?? null;
  return open === null ? "connections" : `${open} connection${open === 1 ? "" : "s"}`;
}

/** Asks the daemon. Resolves to a sentence; throws what `Api` throws. */
export async function send(
  api: Api,
  question: Question,
  { version, instances, idle }: Given,
): Promise<string> {
  const { verb, service, deploy, generation } = question;
  const name = encodeURIComponent(service);
  const of = `v1/services/${name}`;
  switch (verb) {
    case "deploy": {
      const body = version === "" ? {} : { version };
      const { id } = await api.change<Deploy>("POST", `${of}/deploys`, body, generation);
      return `Deploy ${id} was accepted.`;
    }
    case "promote":
    case "pause":
    case "continue":
    case "abort":
      await api.change("POST", `v1/deploys/${encodeURIComponent(deploy ?? "")}/${verb}`, {}, null);
      return `Deploy ${String(deploy)} was asked to ${verb}.`;
    case "rollback":
      await api.change("POST", `${of}/rollback`, {}, generation);
      return `${service} goes back.`;
    case "restart":
    case "resume":
      await api.change("POST", `${of}/${verb}`, {}, generation);
      return `The ${verb} of ${service} was accepted.`;
    case "hold":
      await api.change("POST", `${of}/hold`, { idle }, generation);
      return `${service} is held.`;
    case "scale":
      await api.change("PUT", `${of}/scale`, { instances }, generation);
      return `${service} is to have ${String(instances)} instances.`;
    case "end":
      await api.change("POST", `${of}/generations/${String(generation)}/end`, {}, null);
      return `Generation ${String(generation)} of ${service} is being ended.`;
  }
}
