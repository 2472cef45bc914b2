/** The findings of all judges about the facts, in the order in which one would look. Pure; gather.ts gets the facts. */
import type { Diagnosis, Finding } from "../../admin-api/schemas.ts";
import type { Facts } from "./facts.ts";
import { ok, problem } from "./finding.ts";
import { judgeAccess } from "./judge-access.ts";
import { judgeKernel } from "./judge-kernel.ts";
import { judgeLimits } from "./judge-limits.ts";
import { judgeUnit } from "./judge-unit.ts";

export function diagnose(facts: Facts, seenBy: Diagnosis["seenBy"]): Diagnosis {
  const findings = [
    ...configuration(facts),
    ...judgeKernel(facts),
    ...judgeLimits(facts),
    ...judgeUnit(facts),
    ...judgeAccess(facts),
  ];
  return { seenBy, healthy: findings.every(({ verdict }) => verdict !== "problem"), findings };
}

function configuration({ config, configProblem }: Facts): readonly Finding[] {
  if (configProblem !== null)
    return [problem("config.valid", configProblem, "handoffd check -c FILE says the same; correct the file")];
  return config === null
    ? []
    : [ok("config.valid", `${config.file ?? "what the arguments say"} can be used`)];
}
