/**
 * An agent that inserts numbered rows through its DATABASE_URL, all the time and whatever happens, and says which of them the database acknowledged:
 * one connection that it keeps as long as it can, and a connection for each row beside it. No number is tried twice.
 *
 * What it says is its container's log. Two lines of it count: `kept NUMBER` and `lost NUMBER WHY`.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { exitCodes } from '../../../cli/verify.ts'
import { accountsOf } from './accounted.ts'
import { eventually, kubectl } from './kubectl.ts'
import { openRecordings } from './recordings.ts'
import { agentPod, databaseUser, startAgent, type Shop } from './shop.ts'

/** Numbers of the second worker begin here. */
const secondWorker = 1_000_000
/** Of one worker. */
const rowsMax = 10_000

const program = (first: number): string => `
const first = ${first}
const { Client } = require('pg')
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
async function work(number, keeps, milliseconds) {
  let client = null
  for (;;) {
    number++
    try {
      if (client === null) {
        client = new Client({ connectionString: process.env.DATABASE_URL, connectionTimeoutMillis: 10000, query_timeout: 10000 })
        client.on('error', () => undefined)
        await client.connect()
      }
      await client.query('insert into kept values (' + number + ')')
      console.log('kept ' + number)
      if (!keeps) { await client.end(); client = null }
    } catch (error) {
      console.log('lost ' + number + ' ' + String(error.message).replaceAll('\\n', ' '))
      client.end().catch(() => undefined)
      client = null
    }
    await pause(milliseconds)
  }
}
process.on('SIGTERM', () => process.exit(0))
work(first, true, 200)
work(${secondWorker} + first, false, 1000)
`

export type RowKeeper = AsyncDisposable & {
  readonly name: string
  readonly podUid: string
  /** Rows that were acknowledged since this started to listen. */
  readonly kept: readonly number[]
  /** What the agent was told of rows that were not, in the order in which it was. */
  readonly refusals: readonly string[]
  /** Returns when both workers have had a row acknowledged after this call. */
  untilGoesOn(withinMilliseconds?: number): Promise<void>
  /** Ends the pod in good order, and gives what became of its rows. */
  end(): Promise<KeptRows>
}

export type KeptRows = {
  /** The agent was told so. */
  readonly acknowledged: readonly number[]
  readonly inTable: readonly number[]
}

/**
 * Ends the keepers of one shop; then everything that was acknowledged is in the store's recordings, and all that the database has of it; and none
 * but relays had a session. Whether the recordings are sound, `assertStoreSound` says.
 */
export async function assertAllRecorded(
  keepers: readonly RowKeeper[],
  { shop, store, relayAddresses }: { readonly shop: Shop; readonly store: string; readonly relayAddresses: ReadonlySet<string> },
): Promise<void> {
  const ended = await Promise.all(keepers.map(async (keeper) => ({ keeper, rows: await keeper.end() })))
  await using recordings = await openRecordings(store)
  const recorded = new Map(keepers.map(({ podUid }) => [podUid, new Set<number>()]))
  const notRecorded = (of: keyof KeptRows): number[] =>
    ended.flatMap(({ keeper, rows }) => rows[of].filter((number) => !recorded.get(keeper.podUid)!.has(number)))
  await eventually('everything that was acknowledged is recorded', async () => {
    for (const [podUid, account] of await accountsOf(
      recordings.url,
      keepers.map((keeper) => keeper.podUid),
    )) {
      for (const sql of account.recorded) {
        const number = /insert into kept values \((\d+)\)/.exec(sql)?.[1]
        if (number !== undefined) recorded.get(podUid)!.add(Number(number))
      }
    }
    assert.deepEqual(notRecorded('acknowledged'), [], 'acknowledged and not recorded')
    return true
  })
  for (const { keeper, rows } of ended) assert.ok(rows.acknowledged.length > 0, `something of ${keeper.name} was acknowledged`)
  assert.deepEqual(notRecorded('inTable'), [], 'in the database and not recorded')
  const authorised = (await shop.databaseLog()).matchAll(
    new RegExp(`${databaseUser}@\\w+ (\\S+?)\\(\\d+\\) LOG: +connection authorized`, 'g'),
  )
  const from = new Set([...authorised].map(([, address]) => address!))
  assert.ok(from.size > 0, 'the database logs whose sessions it has')
  assert.deepEqual(
    [...from].filter((address) => !relayAddresses.has(address)),
    [],
    'sessions that came past the relay',
  )
}

/** Every recording of the store is sound. Once for all keepers of a test: it reads everything. */
export async function assertStoreSound(store: string): Promise<void> {
  await using recordings = await openRecordings(store)
  const verified = await recordings.run(['verify', '--all'])
  assert.equal(verified.status, exitCodes.sound, verified.stdout.slice(-4_000) + verified.stderr)
}

/** `first`: its numbers begin behind it; keepers of one shop share a table, with 10,000 numbers each. */
export async function startRowKeeper(shop: Shop, name = 'keeper', { first = 0 }: { readonly first?: number } = {}): Promise<RowKeeper> {
  await shop.query(`create table if not exists kept (number int primary key); grant select, insert on kept to ${databaseUser}`)
  const pod = await startAgent(shop.namespace, agentPod(name, { command: ['node', '-e', program(first)] }))
  const kept: number[] = []
  const refusals: string[] = []
  let isOver = false
  let logs: ChildProcess | null = null
  const listen = (): void => {
    const child = spawn('kubectl', ['-n', shop.namespace, 'logs', '--follow', '--tail=0', name, '-c', 'agent'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    logs = child
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [, word, number, why = ''] = /^(kept|lost) (\d+) ?(.*)$/.exec(line) ?? []
      if (word === 'kept') kept.push(Number(number))
      else if (word === 'lost') refusals.push(why)
    })
    child.on('close', () => void (isOver || setTimeout(listen, 500)))
  }
  listen()
  return {
    ...{ name, podUid: pod.metadata.uid, kept, refusals },
    async untilGoesOn(withinMilliseconds = 120_000) {
      const from = kept.length
      await eventually(
        'both workers go on',
        () => {
          const since = kept.slice(from)
          return Promise.resolve(
            since.some((number) => number < secondWorker) && since.some((number) => number > secondWorker) ? true : null,
          )
        },
        { withinMilliseconds },
      ).catch((cause: unknown) => {
        throw new Error(`the agent’s rows do not go on; the last refusals: ${refusals.slice(-3).join(' | ')}`, { cause })
      })
    },
    async end() {
      isOver = true
      logs?.kill('SIGKILL')
      const said = await kubectl(['-n', shop.namespace, 'logs', name, '-c', 'agent'])
      const acknowledged = [...said.matchAll(/^kept (\d+)$/gm)].map(([, number]) => Number(number))
      await kubectl(['-n', shop.namespace, 'delete', 'pod', name, '--timeout=180s'])
      const rows = (await shop.query('select number from kept'))
        .split('\n')
        .filter((line) => line !== '')
        .map(Number)
      const inTable = rows.filter((number) => number % secondWorker > first && number % secondWorker <= first + rowsMax)
      assert.ok(inTable.length >= acknowledged.length, 'what was acknowledged is in the table')
      return { acknowledged, inTable }
    },
    [Symbol.asyncDispose]() {
      isOver = true
      logs?.kill('SIGKILL')
      return Promise.resolve()
    },
  }
}

/** Every address that a relay has while this watches. */
export async function watchRelayAddresses(): Promise<Disposable & { readonly addresses: ReadonlySet<string> }> {
  const addresses = new Set<string>()
  const selector = ['-n', 'steno-system', 'get', 'pods', '-l', 'app.kubernetes.io/component=relay', '-o']
  const output = 'jsonpath={.status.podIP}{"\\n"}'
  let isOver = false
  let child: ChildProcess
  const watch = (): void => {
    child = spawn('kubectl', [...selector, output, '--watch'], { stdio: ['ignore', 'pipe', 'ignore'] })
    createInterface({ input: child.stdout! }).on('line', (line) => void (line !== '' && addresses.add(line)))
    child.on('close', () => void (isOver || setTimeout(watch, 200)))
  }
  watch()
  await eventually('a relay has an address', () => Promise.resolve(addresses.size > 0 ? true : null))
  return {
    addresses,
    [Symbol.dispose]() {
      isOver = true
      child.kill('SIGKILL')
    },
  }
}
