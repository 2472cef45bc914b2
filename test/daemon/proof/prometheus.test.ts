/** What becomes of a query, whatever is at the other end of a real socket. */
import { createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { expect, test } from "vitest";
import { parseAnswer, queryPrometheus } from "../../../daemon/proof/prometheus.ts";
import type { Reading } from "../../../deploy/judgement.ts";
import { expectTableUnchanged } from "../../handoff/native-support.ts";
import { type Behaviour, FakePrometheus, result, says, vector } from "../../support/fake-prometheus.ts";
import { eventually } from "../../support/processes.ts";

expectTableUnchanged();

const never = new AbortController().signal;

async function read(behaviour: Behaviour, timeoutMs = 5_000): Promise<Reading> {
  await using fake = await FakePrometheus.start(behaviour);
  const { reading } = await queryPrometheus({ url: fake.url, query: "up", timeoutMs }, never);
  await eventually("its connection to be closed", () => fake.open === 0);
  return reading;
}

const values = (...each: number[]): Reading => ({ kind: "values", values: each });

test.each<[string, Behaviour, Reading]>([
  ["a vector is its series' values", vector("0.02", "1e-05", "3"), values(0.02, 0.00001, 3)],
  ["an empty vector has none", vector(), values()],
  ["a scalar is one value", result("scalar", [1, "0.5"]), values(0.5)],
  ["what is not a number is one that says so", vector("NaN"), values(NaN)],
  ["infinity has a sign", vector("+Inf", "-Inf", "Inf"), values(Infinity, -Infinity, Infinity)],
  ["warnings change nothing", result("vector", [], { warnings: ["odd"], infos: ["so"] }), values()],
])("%s", async (_title, behaviour, reading) => {
  expect(await read(behaviour)).toEqual(reading);
});

const dies: Behaviour = (response) => {
  response.writeHead(200, { "content-length": 1_000 });
  response.write('{"status":"succ', () => response.destroy());
};
const trickles: Behaviour = (response) => {
  response.writeHead(200);
  const timer = setInterval(() => response.write(" "), 20);
  response.once("close", () => clearInterval(timer));
};
const floods: Behaviour = (response) => {
  response.writeHead(200);
  const timer = setInterval(() => response.write(" ".repeat(300_000)), 1);
  response.once("close", () => clearInterval(timer));
};
const leads: Behaviour = (response) => {
  response.writeHead(302, { location: "http://elsewhere.invalid/" }).end();
};
const refused = { status: "error", errorType: "bad_data", error: 'invalid parameter "query": parse error' };

test.each<[string, Behaviour, RegExp]>([
  [
    "an error has the words of Prometheus itself",
    says(refused, 400),
    /^bad_data: invalid parameter "query": parse/,
  ],
  ["an error with status 200 is an error", says(refused), /^bad_data/],
  ["a success with another status is none", says({ status: "ok" }, 503), /^status 503$/],
  ["a page for people has its status", says("<html>Bad Gateway</html>", 502), /^status 502$/],
  [
    "a page for people with status 200 is not JSON",
    says("<html>"),
    /not JSON; is the URL that of a Prometheus\?$/,
  ],
  ["JSON of another kind is no answer", says([1, 2]), /not an answer to a query/],
  ["a success without data is no answer", says({ status: "success" }), /not an answer to a query/],
  ["a range is not one value", result("matrix", []), /rate\(\)/],
  ["a text is not a number", result("string", [1, "a"]), /gives a text/],
  [
    "a histogram is not a number",
    result("vector", [{ metric: {}, histogram: [1, {}] }]),
    /histogram_quantile/,
  ],
  ["a value that is no number is none", vector("0x1p3", "twelve"), /has no number/],
  ["an empty value is none", vector(""), /has no number/],
  [
    "a redirect is not followed",
    leads,
    /^status 302 leads to http:\/\/elsewhere\.invalid\/, which is not followed/,
  ],
  [
    "a server that dies in its answer has not answered",
    dies,
    /closed the connection before the answer was whole$/,
  ],
  [
    "a server that hangs up at once has not answered",
    (response) => response.destroy(),
    /closed the connection/,
  ],
  ["more than a mebibyte is not read", floods, /answered with more than 1048576 bytes$/],
])("%s", async (_title, behaviour, because) => {
  expect(await read(behaviour)).toEqual({
    kind: "unanswered",
    because: expect.stringMatching(because) as string,
  });
});

test.each<[string, Behaviour]>([
  ["that says nothing", () => undefined],
  ["whose answer never ends", trickles],
])("a server %s is left when its time is over", async (_title, behaviour) => {
  expect(await read(behaviour, 100)).toMatchObject({
    because: expect.stringMatching(/within 100 ms$/) as string,
  });
});

test("a port that nobody listens on refuses", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  server.close();
  await once(server, "close");
  const { reading } = await queryPrometheus({ url, query: "up", timeoutMs: 5_000 }, never);
  expect(reading).toEqual({ kind: "unanswered", because: `${url} refused the connection` });
});

test("the query, its time limit and the prefix of the URL reach the server as they are", async () => {
  await using fake = await FakePrometheus.start(vector("1"));
  const query = 'rate(x{job="a&b"}[1m]) > 0 + 1 # ü';
  await queryPrometheus({ url: `${fake.url}/prefix/`, query, timeoutMs: 1_500 }, never);
  expect(fake.asked.map(({ path, parameters }) => [path, ...parameters])).toEqual([
    ["/prefix/api/v1/query", ["query", query], ["timeout", "1500ms"]],
  ]);
});

test("an abort ends the request at once, and with the abort's own reason", async () => {
  await using fake = await FakePrometheus.start(() => undefined);
  const work = new AbortController();
  const asked = queryPrometheus({ url: fake.url, query: "up", timeoutMs: 60_000 }, work.signal);
  await eventually("the request", () => fake.open === 1);
  work.abort(new Error("enough"));
  await expect(asked).rejects.toThrow("enough");
  await eventually("its connection to be closed", () => fake.open === 0);
});

test("what the server says itself is not repeated without end", () => {
  const { reading } = parseAnswer(400, JSON.stringify({ ...refused, error: "x".repeat(10_000) }));
  expect(reading.kind === "unanswered" && reading.because.length).toBeLessThan(600);
});
