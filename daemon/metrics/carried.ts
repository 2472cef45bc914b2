/**
 * Counters and histograms that go on over an upgrade of the daemon: what the one before had counted is added to every page. By
 * prom-client's own means of adding up several processes' figures, since a histogram cannot be set.
 */
import { AggregatorRegistry, Histogram, type Registry } from "prom-client";

interface Value {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** Of a histogram: the name with _bucket, _sum or _count. */
  readonly metricName?: string;
}

interface Metric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly aggregator: string;
  readonly values: readonly Value[];
}

/** JSON. Only ever read by a daemon: see `Carried.restore`. */
export interface MetricsRecord {
  readonly format: 1;
  readonly metrics: readonly Metric[];
}

export class Carried {
  readonly #registry: Registry;
  #before: readonly Metric[] = [];

  /** The registry has counters and histograms only. */
  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** As `registry.metrics()`, with what was carried over. */
  async page(): Promise<string> {
    if (this.#before.length === 0) return this.#registry.metrics();
    return AggregatorRegistry.aggregate(await this.#all()).metrics();
  }

  async export(): Promise<MetricsRecord> {
    const all = AggregatorRegistry.aggregate(await this.#all());
    return { format: 1, metrics: (await all.getMetricsAsJSON()) as unknown as Metric[] };
  }

  /** Takes what this version has under the same name and type, and with the same buckets; leaves the rest. */
  restore(record: unknown): void {
    if (!isRecord(record)) return;
    this.#before = record.metrics.filter((metric) => this.#fits(metric));
  }

  async #all(): Promise<object[]> {
    // The present ones first: their HELP is this version's.
    return [await this.#registry.getMetricsAsJSON(), [...this.#before]];
  }

  #fits(metric: Metric): boolean {
    const known = this.#registry.getSingleMetric(metric.name) as { readonly type?: unknown } | undefined;
    if (known === undefined || known.type !== metric.type) return false;
    if (!(known instanceof Histogram)) return true;
    const { upperBounds } = known as unknown as { readonly upperBounds: readonly number[] };
    const wanted = [...upperBounds.map(String), "+Inf"].sort().join();
    const found = metric.values.flatMap(({ labels: { le } }) => (le === undefined ? [] : [String(le)]));
    return [...new Set(found)].sort().join() === wanted;
  }
}

function isRecord(record: unknown): record is MetricsRecord {
  return (
    isObject(record) &&
    record["format"] === 1 &&
    Array.isArray(record["metrics"]) &&
    record["metrics"].every(
      (metric: unknown) =>
        isObject(metric) &&
        typeof metric["name"] === "string" &&
        metric["aggregator"] === "sum" &&
        Array.isArray(metric["values"]) &&
        metric["values"].every(isValue),
    )
  );
}

function isValue(value: unknown): boolean {
  return (
    isObject(value) &&
    isObject(value["labels"]) &&
    Number.isFinite(value["value"]) &&
    Number(value["value"]) >= 0
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
