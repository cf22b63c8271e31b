// Goal: logging never ends the process. Method: a process of its own whose standard error takes nothing.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, openSync } from 'node:fs'
import { test } from 'node:test'

const full = '/dev/full'

test('a log on a full disk does not end the process', { skip: !existsSync(full) && `there is no ${full}` }, () => {
  const script = `
    import { createLog } from ${JSON.stringify(new URL('./log.ts', import.meta.url).href)}
    const log = createLog({ level: 'info' })
    for (let line = 0; line < 3000; line++) log.error('the disk is full, and this is a line about it that nobody will read')
    setTimeout(() => console.log('alive'), 20)`
  const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', openSync(full, 'w')],
    encoding: 'utf8',
    timeout: 120_000,
  })
  assert.deepEqual([status, stdout], [0, 'alive\n'])
})
