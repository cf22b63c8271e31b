/**
 * Metrics whose values are read when somebody asks, each declared on one line; and a histogram that was added up elsewhere.
 *
 * The one place that knows the library.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

export type MetricsRegistry = ReturnType<typeof createMetricsRegistry>

/** A series of a metric: its labels' values in the order of the names, and how to read it. */
export type Series = { readonly labels: readonly string[]; readonly read: () => number }

/** Counts of what was at most each bound of a histogram, cumulative, and of all; `sum` in the metric's unit. */
export type Distribution = { readonly atMost: readonly number[]; readonly count: number; readonly sum: number }

export function createMetricsRegistry() {
  const registry = new Registry()
  const registers = [registry]
  return {
    contentType: registry.contentType,
    text: (): Promise<string> => registry.metrics(),
    counter(name: string, help: string, read: () => number): void {
      const made: Counter = new Counter({
        ...{ name, help, registers },
        collect() {
          made.reset()
          made.inc(read())
        },
      })
    },
    gauge(name: string, help: string, read: () => number): void {
      const made: Gauge = new Gauge({ name, help, registers, collect: () => made.set(read()) })
    },
    /** Series that come and go: each reading says which there are. */
    gauges(
      name: string,
      help: string,
      labelNames: readonly string[],
      read: () => readonly { readonly labels: readonly string[]; readonly value: number }[],
    ): void {
      const made: Gauge = new Gauge({
        ...{ name, help, labelNames, registers },
        collect() {
          made.reset()
          for (const { labels, value } of read()) made.labels(...labels).set(value)
        },
      })
    },
    /** Every series is there from the start, at 0: a rate over one that appears with its first count would miss that. */
    counters(name: string, help: string, labelNames: readonly string[], series: readonly Series[]): void {
      const made: Counter = new Counter({
        ...{ name, help, labelNames, registers },
        collect() {
          made.reset()
          for (const { labels, read } of series) made.labels(...labels).inc(read())
        },
      })
    },
    /** A gauge that is always 1 and says something in its labels. */
    information(name: string, help: string, labels: Readonly<Record<string, string>>): void {
      new Gauge({ name, help, labelNames: Object.keys(labels), registers }).set(labels, 1)
    },
    histogram(name: string, help: string, buckets: readonly number[], read: () => Distribution): void {
      registry.registerMetric(new AddedUpElsewhere({ name, help, buckets: [...buckets], registers: [] }, read))
    },
  }
}

/** The library's histogram only counts what it observes itself. */
class AddedUpElsewhere extends Histogram {
  readonly #of: { readonly name: string; readonly help: string; readonly buckets: readonly number[] }
  readonly #read: () => Distribution

  constructor(
    configuration: { readonly name: string; readonly help: string; readonly buckets: number[]; readonly registers: Registry[] },
    read: () => Distribution,
  ) {
    super(configuration)
    this.#of = configuration
    this.#read = read
  }

  override async get(): ReturnType<Histogram['get']> {
    const { name, help, buckets } = this.#of
    const { atMost, count, sum } = this.#read()
    const values = [
      ...buckets.map((le, at) => ({ metricName: `${name}_bucket`, labels: { le }, value: atMost[at]! })),
      { metricName: `${name}_bucket`, labels: { le: '+Inf' }, value: count },
      { metricName: `${name}_sum`, labels: {}, value: sum },
      { metricName: `${name}_count`, labels: {}, value: count },
    ]
    return { name, help, type: 'histogram' as never, aggregator: 'sum', collect: () => undefined, values }
  }

  /** What the registry asks, rather than `get`, of metrics that have it. */
  getForPromString(): ReturnType<Histogram['get']> {
    return this.get()
  }
}
