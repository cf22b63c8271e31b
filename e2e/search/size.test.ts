/**
 * Goal: memory does not grow with the store. `STENO_SEARCH_SESSIONS=100000 node --test e2e/search/size.test.ts` shows it at full size.
 * Method: the highest resident set that the kernel saw of `search` and `export` over a store, against a store of a tenth of the sessions.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { generateStore } from '../../cli/search/test-store.ts'

const program = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))
const sessions = Number(process.env['STENO_SEARCH_SESSIONS'] ?? 5_000)
const statements = 10
/** What a command may need beyond what it needs for a tenth: garbage that is not collected yet, and for Parquet a row group that is full. */
const mebibyte = 1024 * 1024
const growthBytesMax = { lines: 64 * mebibyte, parquet: 192 * mebibyte }

const linuxOnly = process.platform === 'linux' ? {} : { skip: 'reads /proc' }

test('a store ten times as large is searched and exported in the same memory', linuxOnly, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-size-'))
  try {
    const [small, large] = [join(folder, 'small'), join(folder, 'large')]
    generateStore(small, { sessions: sessions / 10, statements })
    generateStore(large, { sessions, statements })
    for (const args of [
      ['search', '--text', 'nothing has this'],
      ['search', '--text', 'select'],
      ['export', '--format', 'csv'],
      ['export', '--format', 'parquet'],
    ]) {
      const before = await measure(t, args, small)
      const after = await measure(t, args, large)
      assert.ok(after.outputBytes === 0 || after.outputBytes > before.outputBytes * 5, 'all of the larger store was read')
      assert.ok(
        after.peakBytes - before.peakBytes < growthBytesMax[args.includes('parquet') ? 'parquet' : 'lines'],
        `${args.join(' ')}: ${before.peakBytes} bytes for ${sessions / 10} sessions, ${after.peakBytes} for ${sessions}`,
      )
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

/** The last thing that the command does is to say what the kernel saw of it. */
const report = `import fs from 'node:fs'; process.on('exit', () => fs.writeSync(2, fs.readFileSync('/proc/self/status', 'utf8')))`

async function measure(t: TestContext, args: readonly string[], folder: string) {
  const given = ['--import', `data:text/javascript,${encodeURIComponent(report)}`, program, ...args, '--store', pathToFileURL(folder).href]
  const child = spawn(process.execPath, given, { stdio: ['ignore', 'pipe', 'pipe'] })
  let outputBytes = 0
  let stderr = ''
  child.stdout.on('data', (piece: Buffer) => (outputBytes += piece.length))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const started = performance.now()
  await once(child, 'close')
  const peakBytes = Number(/^VmHWM:\s+(\d+) kB$/m.exec(stderr)?.[1]) * 1024
  assert.ok(peakBytes > 0, stderr)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  t.diagnostic(`${args.join(' ')}, ${folder.split('/').at(-1)}: ${seconds} s, ${(peakBytes / 1e6).toFixed(0)} MB, ${outputBytes} bytes`)
  return { peakBytes, outputBytes }
}
