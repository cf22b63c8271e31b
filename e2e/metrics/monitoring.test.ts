// Goal: what the dashboard and the alerts ask for is what a proxy serves, and the page about metrics says what is served. Method: a real
// proxy over a real database, statements of every kind and outcome; its text through a parser of others, and every expression against that.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import type { Family } from 'parse-prometheus-text-format'
import { parse as parseYaml } from 'yaml'
import { durationBucketsSeconds, sqlStateClasses, statementKinds, statementOutcomes } from '../../sidecar/statements/counts.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connectRemembering, execute, framesOf, message } from '../nothing-lost/remembering-client.ts'
import { startProxyProcess, type RunningProxy } from '../support/proxy.ts'
import { readExpression } from './promql.ts'
import { metricsPortIn, scrapeUntil, type Scraped } from './scrape.ts'

const read = (file: string): string => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
/** Prometheus itself gives these to every series. */
const scrapeLabels = ['job', 'instance']

type Alert = {
  readonly alert: string
  readonly expr: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}
type Target = { readonly expr: string; readonly legendFormat: string }
type Panel = {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly datasource?: { readonly uid: string }
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly Target[]
}
type Dashboard = {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string; readonly definition?: string }[] }
  readonly annotations: { readonly list: readonly { readonly expr: string }[] }
}

const { groups } = parseYaml(read('examples/monitoring/alerts.yaml')) as { groups: readonly { readonly rules: readonly Alert[] }[] }
const alerts = groups.flatMap(({ rules }) => rules)
const dashboard = JSON.parse(read('examples/monitoring/grafana-dashboard.json')) as Dashboard

let database: EmbeddedPostgres
let proxy: RunningProxy
let scraped: Scraped
let said: Said

before(async () => {
  database = await startPostgres()
  proxy = await startProxyProcess({ upstream: database.url, arguments: ['--metrics-listen', '127.0.0.1:0'] })
  said = await speak(proxy.port)
  scraped = await scrapeUntil(
    metricsPortIn(proxy.log()),
    (seen) =>
      seen.value('steno_statements_total', { outcome: 'unfinished' }) === 1 &&
      seen.value('steno_sessions_open') === 0 &&
      seen.value('steno_spool_bytes') === 0 &&
      seen.value('steno_segments_stored_total') >= 2, // Counted a moment after the spool is empty.
  )
})
after(async () => {
  await proxy[Symbol.asyncDispose]()
  await database.stop()
})

/** What one client said and was told, counted by itself. */
type Said = { readonly toDatabaseBytes: number; readonly fromDatabaseBytes: number; readonly rows: number }

const sync = message('S')
const sleepSeconds = 0.03

/** Statements of every kind and outcome. */
async function speak(port: number): Promise<Said> {
  let toDatabaseBytes = 0
  const counting = (text: string): string => {
    toDatabaseBytes += Buffer.byteLength(text)
    return text
  }
  const text = (sql: string): Buffer => message('Q', `${counting(sql)}\0`)
  const withParameter = (sql: string, parameter: string): Buffer => execute(counting(sql), counting(parameter))
  const client = await connectRemembering(port, 'everything')
  await client.ask(text('create table known (id int primary key)'))
  await client.ask(text('insert into known select generate_series(1, 10)'))
  await client.ask(text('copy known from stdin'), message('d', counting('11\n')), message('c'))
  await client.ask(text('copy known to stdout'))
  await client.ask(text(`select pg_sleep(${sleepSeconds})`))
  await client.ask(withParameter('select $1::text', 'a parameter'))
  // Fetched in part, and dropped with the transaction.
  const parse = message('P', `\0${counting('select * from known')}\0\0\0`)
  await client.ask(parse, message('B', '\0\0\0\0\0\0\0\0'), message('E', '\0\0\0\0\x01'), sync)
  await client.ask(message('F', Buffer.from([0, 0, 0x07, 0xea, 0, 0, 0, 0, 0, 0]))) // pg_backend_pid() is 2026.
  await client.ask(text('insert into known values (1)')) // 23505
  await client.ask(text('select nothing from nowhere')) // 42P01
  await client.ask(text("do $$ begin raise 'mine' using errcode = 'ZZ999' ; end $$")) // A class that PostgreSQL has not.
  // The first of two fails, and the second is skipped.
  await client.ask(withParameter('select 1 / $1::int', '0').subarray(0, -sync.length), withParameter('select $1::text', 'skipped'))
  await client.end()
  const leaver = await connectRemembering(port, 'leaver')
  leaver.send(withParameter('select $1::text', 'never answered').subarray(0, -sync.length))
  await leaver.end()
  const { frames } = framesOf(client.received())
  const told = frames.filter(({ type }) => 'DdV'.includes(type))
  return {
    toDatabaseBytes,
    fromDatabaseBytes: told.reduce((sum, { body }) => sum + 5 + body.length, 0),
    rows: told.filter(({ type }) => type === 'D').length,
  }
}

test('statements are counted by kind and outcome, and every series is there from the start', () => {
  const counted = Object.fromEntries(
    statementKinds.flatMap((kind) =>
      statementOutcomes.map((outcome) => [`${kind} ${outcome}`, scraped.value('steno_statements_total', { kind, outcome })]),
    ),
  )
  const none = Object.fromEntries(Object.keys(counted).map((name) => [name, 0]))
  assert.deepEqual(counted, {
    ...none,
    ...{ 'query completed': 5, 'query failed': 3, 'function completed': 1 },
    ...{ 'execute completed': 1, 'execute failed': 1, 'execute skipped': 1, 'execute suspended': 1, 'execute unfinished': 1 },
  })
})

test('failures are counted by the class of their SQLSTATE, and a class that PostgreSQL has not is other', () => {
  const failed = sqlStateClasses.filter((name) => scraped.value('steno_statement_failures_total', { sqlstate_class: name }) > 0)
  assert.deepEqual(failed, ['22', '23', '42', 'other'])
  assert.equal(scraped.value('steno_statement_failures_total'), 4)
})

test('rows and bytes are what the client itself counted', () => {
  assert.equal(scraped.value('steno_statement_rows_total'), said.rows)
  assert.equal(scraped.value('steno_statement_bytes_total', { direction: 'from_database' }), said.fromDatabaseBytes)
  assert.equal(scraped.value('steno_statement_bytes_total', { direction: 'to_database' }), said.toDatabaseBytes)
})

test('the durations are a histogram of what completed or failed, from 1 ms to 60 s', () => {
  const [histogram] = scraped.families.get('steno_statement_duration_seconds')!.metrics
  const boundOf = (text: string): number => (text === '+Inf' ? Infinity : Number(text))
  const buckets = Object.entries(histogram!.buckets!).toSorted(([a], [b]) => boundOf(a) - boundOf(b))
  assert.deepEqual(
    buckets.map(([bound]) => bound),
    [...durationBucketsSeconds.map(String), '+Inf'],
  )
  const counts = buckets.map(([, count]) => Number(count))
  assert.deepEqual(
    counts,
    counts.toSorted((a, b) => a - b),
    'cumulative',
  )
  assert.equal(Number(histogram!.count), 11)
  assert.equal(counts.at(-1), 11)
  assert.ok(Number(histogram!.sum) >= sleepSeconds, histogram!.sum)
  assert.ok(counts[durationBucketsSeconds.indexOf(0.025)]! < 11, 'what slept for 30 ms is beyond 25 ms')
})

test('what is stored is counted, and nothing waits once all is', () => {
  assert.equal(scraped.value('steno_sessions_total'), 2)
  assert.equal(scraped.value('steno_connections_total'), 2)
  assert.ok(scraped.value('steno_segments_stored_total') >= 2)
  assert.equal(scraped.value('steno_segments_waiting'), 0)
  assert.ok(scraped.value('steno_stored_bytes_total') > 1_000)
  assert.equal(scraped.value('steno_recording'), 1)
  assert.equal(scraped.value('steno_store_failing_seconds'), 0)
  const started = scraped.value('process_start_time_seconds')
  assert.ok(started > Date.now() / 1000 - 600 && started <= scraped.value('steno_store_last_success_timestamp_seconds'))
})

test('every metric has a HELP, and its name ends as Prometheus asks', () => {
  for (const { name, help, type } of scraped.families.values()) {
    assert.ok(help.length > 10, name)
    assert.equal(type === 'COUNTER', name.endsWith('_total'), name)
    assert.match(name, /^(steno|process)_[a-z_]+$/)
  }
})

test('docs/metrics.md has every metric with its labels and type, and no other', () => {
  // What a pod's sidecar serves besides stands behind this heading, and e2e/pod/relay.test.ts compares it.
  const [ofProxy = ''] = read('docs/metrics.md').split('\n## In a pod\n')
  const documented = [...ofProxy.matchAll(/^\| `([a-z_]+)(?:\{([a-z_,]+)\})?` \| (\w+) \|/gm)].map(
    ([, name = '', labels = '', type = '']) => `${name} {${labels.split(',').toSorted().join()}} ${type}`,
  )
  const served = [...scraped.families.values()].map((family) => `${family.name} {${labelsOf(family).join()}} ${family.type.toLowerCase()}`)
  assert.deepEqual(documented.toSorted(), served.toSorted())
})

/** The labels of a family's series, without those that belong to its type. */
function labelsOf({ metrics }: Family): string[] {
  return [...new Set(metrics.flatMap(({ labels }) => Object.keys(labels ?? {})))].toSorted()
}

/** What is wrong with an expression, given what is served. */
function problemsOf(expression: string): string[] {
  const problems: string[] = []
  const { selectors, grouped } = readExpression(expression)
  const known = new Set(scrapeLabels)
  for (const { metric, matchers } of selectors) {
    if (metric === 'up') continue // Prometheus makes it for every target.
    const base = metric.replace(/_(bucket|sum|count)$/, '')
    const family =
      scraped.families.get(metric) ?? (scraped.families.get(base)?.type === 'HISTOGRAM' ? scraped.families.get(base) : undefined)
    if (family === undefined) {
      problems.push(`${metric} is not served`)
      continue
    }
    const labels = labelsOf(family)
    if (metric.endsWith('_bucket')) known.add('le')
    for (const label of labels) known.add(label)
    for (const { label, operator, value } of matchers) {
      if (scrapeLabels.includes(label)) continue
      if (!labels.includes(label)) problems.push(`${metric} has no label ${label}`)
      else if (!operator.includes('~') && !family.metrics.some((sample) => sample.labels?.[label] === value))
        problems.push(`${metric} has no ${label} ${value}`)
    }
  }
  for (const label of grouped) if (!known.has(label)) problems.push(`nothing has the label ${label}`)
  return problems
}

/** Labels that a template shows must survive the expression's grouping. */
function templateProblems(template: string, expression: string): string[] {
  const { selectors, grouped } = readExpression(expression)
  const survive = new Set(grouped.length > 0 ? grouped : [...scrapeLabels, ...selectors.flatMap(({ metric }) => labelsOfMetric(metric))])
  const shown = [...template.matchAll(/\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}/g)].map(([, label = '']) => label)
  return shown.filter((label) => !survive.has(label)).map((label) => `${template}: ${label} does not come out of ${expression}`)
}

function labelsOfMetric(metric: string): string[] {
  const family = scraped.families.get(metric)
  return family === undefined ? [] : labelsOf(family)
}

test('every metric and label that the alerts ask for is served', () => {
  assert.ok(alerts.length >= 7)
  for (const { alert, expr, annotations } of alerts) {
    assert.deepEqual(problemsOf(expr), [], alert)
    assert.deepEqual(
      Object.values(annotations).flatMap((template) => templateProblems(template, expr)),
      [],
      alert,
    )
  }
})

test('every metric and label that the dashboard asks for is served', () => {
  const targets = dashboard.panels.flatMap(({ targets: own = [] }) => own)
  assert.ok(targets.length > 20)
  for (const { expr, legendFormat } of targets) {
    assert.deepEqual(problemsOf(expr), [], expr)
    assert.deepEqual(templateProblems(legendFormat, expr), [])
  }
  for (const { expr } of dashboard.annotations.list) assert.deepEqual(problemsOf(expr), [])
  for (const { definition } of dashboard.templating.list) if (definition !== undefined) assert.deepEqual(problemsOf(definition), [])
})

test('an expression that asks for something else is noticed', () => {
  assert.deepEqual(problemsOf('rate(steno_nothing_total[5m])'), ['steno_nothing_total is not served'])
  assert.deepEqual(problemsOf('rte(steno_gaps_total[5m])'), ['rte is not served'])
  assert.deepEqual(problemsOf('steno_gaps_total{outcome="failed"}'), ['steno_gaps_total has no label outcome'])
  assert.deepEqual(problemsOf('steno_statements_total{outcome="broken"}'), ['steno_statements_total has no outcome broken'])
  assert.deepEqual(problemsOf('sum by (le) (steno_gaps_total)'), ['nothing has the label le'])
  assert.deepEqual(templateProblems('{{ $labels.reason }}', 'sum by (kind) (steno_statements_total)').length, 1)
})

test('every metric of steno is on the dashboard', () => {
  const shown = dashboard.panels.flatMap(({ targets: own = [] }) => own).flatMap(({ expr }) => readExpression(expr).selectors)
  const names = new Set(shown.map(({ metric }) => metric.replace(/_(bucket|sum|count)$/, '')))
  assert.deepEqual(
    [...scraped.families.keys()].filter((name) => !names.has(name)),
    [],
  )
})

test('the dashboard can be imported: a data source to choose, panels with ids of their own that do not overlap', () => {
  const { list } = dashboard.templating
  assert.deepEqual(
    list.map(({ name, type }) => `${name} ${type}`),
    ['datasource datasource', 'job query', 'instance query'],
  )
  const { panels } = dashboard
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  const cells = new Set<string>()
  for (const { title, type, datasource, targets: own, gridPos } of panels) {
    if (type !== 'row') {
      assert.equal(datasource?.uid, '${datasource}', title)
      for (const { expr } of own ?? []) assert.match(expr, /job=~"\$job",instance=~"\$instance"/, title)
    }
    assert.ok(gridPos.x + gridPos.w <= 24, title)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(!cells.has(`${x} ${y}`), `${title} overlaps`)
        cells.add(`${x} ${y}`)
      }
    }
  }
})

test('each alert has its paragraph in the runbook: what it means, how to look, what to do; and no other is there', () => {
  const sections = new Map(
    read('docs/runbook.md')
      .split(/^### /m)
      .slice(1)
      .map((text) => [text.slice(0, text.indexOf('\n')), text]),
  )
  assert.deepEqual([...sections.keys()].toSorted(), alerts.map(({ alert }) => alert).toSorted())
  for (const { alert, labels, annotations } of alerts) {
    assert.equal(annotations['runbook_url'], `docs/runbook.md#${alert.toLowerCase()}`)
    assert.ok(['critical', 'warning'].includes(labels['severity'] ?? ''), alert)
    for (const part of ['**Means.**', '**Look.**', '**Do.**']) assert.ok(sections.get(alert)!.includes(part), `${alert}: ${part}`)
  }
})

test('each alert is seen to fire in the test of the rules', () => {
  const rulesTest = read('examples/monitoring/alerts.test.yaml')
  for (const { alert } of alerts) assert.match(rulesTest, new RegExp(`labels: '\\{alertname="${alert}"\\}'`))
})

test("Prometheus' own promtool accepts the rules, and they fire when they should", async (t) => {
  const folder = fileURLToPath(new URL('../../examples/monitoring', import.meta.url))
  try {
    await promisify(execFile)('promtool', ['--version'])
  } catch {
    t.skip('promtool is not on PATH')
    return
  }
  await promisify(execFile)('promtool', ['check', 'rules', 'alerts.yaml'], { cwd: folder })
  await promisify(execFile)('promtool', ['test', 'rules', 'alerts.test.yaml'], { cwd: folder })
})
