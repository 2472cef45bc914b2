import type { Look, Tone } from "./look.ts";

/** `████░░░░`: how much of it is full, 0..1. Something is never shown as nothing, and what is missing never as all. */
export function bar(share: number, width: number, tone: Tone, { isUnicode, paint }: Look): string {
  const [full, empty] = isUnicode ? ["█", "░"] : ["#", "-"];
  const whole = Math.min(1, Math.max(0, share));
  const exact = Math.round(whole * width);
  const filled = whole === 0 ? 0 : whole === 1 ? width : Math.min(Math.max(exact, 1), width - 1);
  return paint(tone, full.repeat(filled)) + paint("quiet", empty.repeat(width - filled));
}
