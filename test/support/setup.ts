import { afterAll, expect } from "vitest";
import { failOnLeftovers, nameTestsBy } from "./processes.ts";

nameTestsBy(() => expect.getState().currentTestName ?? "(outside of a test)");

afterAll(failOnLeftovers);
