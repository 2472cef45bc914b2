/** Whatever stands at any place of a file: it is taken, or refused with a line; nothing else is thrown. */
import { expect, test } from "vitest";
import { parseDocument, visit, type Document } from "yaml";
import { DESIGN, FULL } from "./good.ts";
import { loadText, refusalOrNull } from "./support.ts";

const NONSENSE: readonly unknown[] = [null, -1, true, "", "x\0", [null], {}, { x: 1 }];

/** The documents with this nonsense at one place each: a value or an item, the whole included. */
function* spoilt(good: string, nonsense: unknown): Generator<Document> {
  for (let place = 0; ; place++) {
    const document = parseDocument(good);
    const seen: unknown[] = [];
    visit(document, {
      Node: (key, node) => {
        if (key === "key") return undefined;
        seen.push(node);
        return seen.length - 1 === place ? document.createNode(nonsense) : undefined;
      },
    });
    if (seen.length <= place) return;
    yield document;
  }
}

test.each([
  ["what the design leaves out", FULL, 300],
  ["the design's example", DESIGN, 600],
])(
  "nonsense at any place of %s is taken or refused with its line",
  { timeout: 120_000 },
  (_, good, least) => {
    let refused = 0;
    for (const nonsense of NONSENSE) {
      for (const document of spoilt(good, nonsense)) {
        const text = document.toString();
        const refusal = refusalOrNull(() => loadText(text));
        if (refusal === null) continue;
        refused++;
        expect(refusal.problems.length, text).toBeGreaterThan(0);
        for (const { line, message } of refusal.problems) {
          expect(line, `${message}\n${text}`).toBeGreaterThan(0);
          expect(message).not.toMatch(/undefined|\[object|something else/u);
        }
      }
    }
    expect(refused).toBeGreaterThan(least);
  },
);
