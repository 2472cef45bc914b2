import { describe, expect, it } from "vitest";
import type { Deployment } from "../../deploy/deployment.ts";
import { decideRollback } from "../../deploy/rollback.ts";
import { hasCode } from "../../handoff/coded-error.ts";
import { deploymentIn } from "./records.ts";

/** "1 2 3" are deploys, oldest first; "<2" is a rollback to 2; "3!" was rolled back while it baked; "3?" failed. */
function history(line: string): Deployment[] {
  const deploys = line.split(" ").filter((word) => word !== "");
  return deploys
    .map((word) =>
      deploymentIn(word.endsWith("!") ? "rolled-back" : word.endsWith("?") ? "failed" : "succeeded", {
        version: word.replace(/[<!?]/gu, ""),
        isRollback: word.startsWith("<"),
      }),
    )
    .reverse();
}

function decide(deploys: readonly Deployment[]): string | null {
  try {
    const decision = decideRollback("api", deploys);
    return decision.do === "wish" ? `wish ${decision.deploy}` : decision.version;
  } catch (error) {
    if (hasCode(error, "NO_PREVIOUS_RELEASE", "DEPLOY_NOT_SHIFTED", "DEPLOY_ROLLING_BACK")) return error.code;
    throw error;
  }
}

describe("decideRollback", () => {
  it.each([
    ["goes to the release before", "1 2 3", "2"],
    ["goes further back after a rollback, not to what was just left", "1 2 3 <2", "1"],
    ["says when there is nothing further back", "1 2 3 <2 <1", "NO_PREVIOUS_RELEASE"],
    ["skips what a rollback left when something new was deployed since", "1 2 3 <2 4", "2"],
    ["takes a release deployed again by name for a new one", "1 2 1", "2"],
    ["does not go back to an identical release after a restart", "1 2 2 2", "1"],
    ["does not count a deploy that was rolled back or failed", "1 2 3! 4? ", "1"],
    ["does not go back twice through a rollback that was itself rolled back", "1 2 3 <2!", "2"],
    ["says so on a first release", "1", "NO_PREVIOUS_RELEASE"],
    ["says so without any history", "", "NO_PREVIOUS_RELEASE"],
    ["says so when the history no longer shows what lies below", "3 <2", "NO_PREVIOUS_RELEASE"],
  ])("%s", (_title, line, expected) => {
    expect(decide(history(line))).toBe(expected);
  });

  it("is a wish on the deploy whose candidate has users, even if that is a rollback", () => {
    expect(decide([deploymentIn("baking"), ...history("1 2")])).toBe("wish d1");
    expect(decide([deploymentIn("shifting", { weight: 0.5 }), ...history("1 2")])).toBe("wish d1");
    expect(decide([deploymentIn("baking", { isRollback: true }), ...history("1 2")])).toBe("wish d1");
  });

  it("is refused, with the way to stop it, while nobody has met the candidate", () => {
    for (const phase of ["starting", "verifying", "shifting"] as const) {
      expect(decide([deploymentIn(phase), ...history("1 2")])).toBe("DEPLOY_NOT_SHIFTED");
    }
  });

  it("is refused while a way back is under way, so that asking twice goes back once", () => {
    expect(decide([deploymentIn("rolling-back"), ...history("1 2")])).toBe("DEPLOY_ROLLING_BACK");
  });

  it("counts a deploy that only drains as done", () => {
    expect(decide([deploymentIn("draining", { version: "3" }), ...history("1 2")])).toBe("2");
  });

  it("knows no previous release of a service without versions", () => {
    const unnamed = deploymentIn("succeeded", { version: null });
    expect(decide([unnamed, unnamed])).toBe("NO_PREVIOUS_RELEASE");
  });
});
