/** Reads a proxy's metrics as Prometheus does, with a parser that is not ours. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import parse, { type Family } from 'parse-prometheus-text-format'

const waitMillisecondsMax = 120_000

export type Scraped = {
  readonly families: ReadonlyMap<string, Family>
  readonly text: string
  /** The value of the series that has all of these labels; of several their sum. NaN when there is none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number
}

/** The port of the line `listening` in a proxy's log. */
export function metricsPortIn(log: string): number {
  const line = log.split('\n').find((text) => text.includes('"msg":"listening"'))
  const { metrics } = JSON.parse(line ?? '{}') as { metrics?: number }
  assert.equal(typeof metrics, 'number', log)
  return metrics!
}

export async function scrape(port: number): Promise<Scraped> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`)
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const text = await answer.text()
  const families = new Map(parse(text).map((family) => [family.name, family]))
  return {
    ...{ families, text },
    value(name, labels = {}) {
      const series = (families.get(name)?.metrics ?? []).filter((sample) =>
        Object.entries(labels).every(([label, value]) => sample.labels?.[label] === value),
      )
      return series.length === 0 ? NaN : series.reduce((sum, sample) => sum + Number(sample.value), 0)
    },
  }
}

/** Scrapes until it fits. */
export async function scrapeUntil(port: number, fits: (scraped: Scraped) => boolean): Promise<Scraped> {
  for (const until = Date.now() + waitMillisecondsMax; ; await sleep(50)) {
    const scraped = await scrape(port)
    if (fits(scraped)) return scraped
    assert.ok(Date.now() < until, `it never fits:\n${scraped.text}`)
  }
}
