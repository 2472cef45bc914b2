/** The end of what the keeper holds, too. */
import type { Descriptor } from "../../handoff/descriptor.ts";
import { closeForeign } from "../../handoff/foreign.ts";
import type { Surroundings } from "../surroundings.ts";

/**
 * Lets go of the keeper's `names` and then of `descriptors`, consumed: whoever is the last to close what a program has sent may have to
 * wait, and that must not be the keeper. Never rejects: a failure is the keeper's to report.
 */
export async function letGo(
  { keeper, log }: Pick<Surroundings, "keeper" | "log">,
  names: readonly string[],
  descriptors: readonly Descriptor[],
): Promise<void> {
  try {
    await keeper().remove(names);
  } catch (error) {
    log.warn({ err: error }, "the keeper did not let go");
  }
  await closeForeign(descriptors);
}
