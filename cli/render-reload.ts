/** What came of a reload, as text for people: a line for each thing that changed, or that has to be done. */
import type { Reload } from "../admin-api/schemas.ts";
import { plain } from "./table.ts";

export function renderReload({ added, removed, changed, pending, needsRestart, warnings }: Reload): string {
  const lines = [
    ...added.listeners.map((name) => `listener ${name} is added`),
    ...added.services.map((name) => `service ${name} is added, and starts`),
    ...changed.listeners.map(({ name, keys }) => `listener ${name} has changed: ${keys.join(", ")}`),
    ...changed.daemon.map((key) => `${key} has changed`),
    ...removed.listeners.map(
      (name) => `listener ${name} is removed when the generations that serve it have drained`,
    ),
    ...removed.services.map((name) => `service ${name} is removed, and drains`),
    ...pending.map(({ name, keys }) => `service ${name} takes over with its next deploy: ${keys.join(", ")}`),
    ...applied(changed, pending).map(({ name, keys }) => `service ${name} has changed: ${keys.join(", ")}`),
    ...needsRestart.map((key) => `${key} comes into force when the daemon is started anew`),
    ...warnings.map((warning) => `warning: ${warning}`),
  ];
  return lines.length === 0 ? "nothing has changed" : lines.map(plain).join("\n");
}

/** What has changed and waits for nothing. */
function applied({ services }: Reload["changed"], pending: Reload["pending"]): Reload["pending"] {
  return services.flatMap(({ name, keys }) => {
    const waiting = pending.find((each) => each.name === name)?.keys ?? [];
    const rest = keys.filter((key) => !waiting.includes(key));
    return rest.length === 0 ? [] : [{ name, keys: rest }];
  });
}
