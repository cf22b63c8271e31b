/**
 * Moves a large result or a large COPY once and prints, as one JSON line, how long it took and what came: the client of the bulk loads.
 *
 * The clock starts when the query is sent and stops at ReadyForQuery, so neither Node's start nor the log-in counts.
 * The password comes from PGPASSWORD. With a pace the client reads in bursts and rests between them, as a slow reader does.
 * usage: node bulk.ts PORT USER DATABASE plain|tls result|copy-out|copy-in|slow-result BYTES [PASSES]
 * BYTES must not be more than `bench_wide` holds; a slow result reads them PASSES times over in one query.
 */
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { clientMessage, openConnection, type Connection, type Pace, type Received } from './connection.ts'
import { wideRowBytes, wideRowsOf } from '../database.ts'

/** libpq sends COPY data in pieces of this size. */
const copyPieceBytes = 8 * 1024
const copyBlocks = 32
const slowBurstBytes = 4 * 1024 * 1024
const slowRestMilliseconds = 50

export type BulkResult = { readonly seconds: number; readonly bytes: number; readonly rows: number }

const [port, user, database, transport, load, size, passes = '1'] = process.argv.slice(2)
const bytesWanted = Number(size)
if (!port || !user || !database || !transport || !load || !(bytesWanted > 0)) {
  throw new Error('usage: node bulk.ts PORT USER DATABASE plain|tls result|copy-out|copy-in|slow-result BYTES [PASSES]')
}
const password = process.env['PGPASSWORD'] ?? ''
const connection = await openConnection({ port: Number(port), user, password, database, tls: transport === 'tls' })
const result = await run(connection, load)
connection.close()
process.stdout.write(`${JSON.stringify(result)}\n`)

async function run(to: Connection, name: string): Promise<BulkResult> {
  const rows = wideRowsOf(bytesWanted)
  switch (name) {
    case 'result':
      return expectRows(await timed(() => to.query(`select payload from bench_wide limit ${rows}`)), rows)
    case 'copy-out':
      return expectRows(await timed(() => to.query(`copy (select payload from bench_wide limit ${rows}) to stdout`)), rows)
    case 'copy-in':
      return copyIn(to)
    case 'slow-result': {
      const pass = `(select payload from bench_wide limit ${rows})`
      const sql = Array.from({ length: Number(passes) }, () => pass).join(' union all ')
      return expectRows(await timed(() => to.query(sql, { pace: inBursts() })), rows * Number(passes))
    }
    default:
      throw new Error(`no load is called ${name}`)
  }
}

async function timed(work: () => Promise<Received>): Promise<BulkResult> {
  const started = performance.now()
  const { bytes, rows } = await work()
  return { seconds: (performance.now() - started) / 1000, bytes, rows }
}

/** A proxy that lost rows would look fast. */
function expectRows(outcome: BulkResult, rows: number): BulkResult {
  if (outcome.rows !== rows || outcome.bytes < rows * (wideRowBytes - 16)) {
    throw new Error(`${rows} rows were asked for, ${outcome.rows} rows and ${outcome.bytes} bytes came`)
  }
  return outcome
}

async function copyIn(to: Connection): Promise<BulkResult> {
  await to.query('create temporary table bench_copy (payload text not null)')
  const blocks = Array.from({ length: copyBlocks }, copyBlock)
  let sentBytes = 0
  let sentRows = 0
  const send = async (): Promise<void> => {
    for (let index = 0; sentBytes < bytesWanted; index++) {
      const block = blocks[index % blocks.length]!
      sentBytes += block.bytes.length
      sentRows += block.rows
      if (!to.socket.write(block.bytes) && to.socket.writableLength > 0) await once(to.socket, 'drain')
    }
    to.socket.write(clientMessage('c', Buffer.alloc(0)))
  }
  let tag = ''
  const outcome = await timed(async () => {
    const received = await to.query('copy bench_copy from stdin', { copyIn: send })
    tag = received.tag
    return received
  })
  if (tag !== `COPY ${sentRows}`) throw new Error(`${sentRows} rows were sent, the server says ${tag}`)
  return { seconds: outcome.seconds, bytes: sentBytes, rows: sentRows }
}

/** 64 KiB of text rows in eight CopyData messages; the rows differ, so that compressing them is real work. */
function copyBlock(): { bytes: Buffer; rows: number } {
  const rowsPerPiece = copyPieceBytes / 1024
  const piece = (): Buffer => {
    const rows = Array.from({ length: rowsPerPiece }, () => `${randomBytes(128).toString('hex').repeat(4).slice(0, 1023)}\n`)
    return clientMessage('d', Buffer.from(rows.join('')))
  }
  const pieces = Array.from({ length: 8 }, piece)
  return { bytes: Buffer.concat(pieces), rows: pieces.length * rowsPerPiece }
}

function inBursts(): Pace {
  let restAt = slowBurstBytes
  return (received) => {
    if (received < restAt) return undefined
    restAt = received + slowBurstBytes
    return sleep(slowRestMilliseconds)
  }
}
