import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { listenerUnder, parseCpuSeconds, parseListeners, parseMemory, parseParent, readCpu, readMemory } from './proc.ts'

const columns = 'S 41 4242 4242 0 -1 4194304 9000 0 0 0 250 50 7 8 20 0 11 0 99 1000 200'

test('CPU time is user and system together, of this process and not of its children', () => {
  assert.equal(parseCpuSeconds(`4242 (node) ${columns}`), 3)
  assert.equal(parseParent(`4242 (node) ${columns}`), 41)
})

test('a process may call itself what it likes', () => {
  for (const name of ['a b', ') S 1', '((x)) 9 9', '']) {
    assert.equal(parseCpuSeconds(`4242 (${name}) ${columns}`), 3, name)
    assert.equal(parseParent(`4242 (${name}) ${columns}`), 41, name)
  }
  assert.throws(() => parseCpuSeconds('4242 node S 1'))
})

test('memory is what is resident now, not what it once was', () => {
  const status = 'VmPeak:\t  999999 kB\nVmHWM:\t   88888 kB\nVmRSS:\t   46080 kB\nRssAnon:\t    9216 kB\nRssFile:\t   36864 kB\n'
  assert.deepEqual(parseMemory(status), { residentBytes: 46080 * 1024, anonymousBytes: 9216 * 1024 })
  assert.throws(() => parseMemory('State:\tZ (zombie)\n'))
})

test('only sockets that listen on the port count, not connections to it', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 70001 1 0 100 0 0 10 0
   1: 0100007F:1538 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 70002 1 0 20 4 30 10 -1
   2: 0100007F:9C40 0100007F:1538 01 00000000:00000000 00:00000000 00000000     0        0 70003 1 0 20 4 30 10 -1
   3: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 70004 1 0 100 0 0 10 0
`
  assert.deepEqual(parseListeners(table, 0x1538), ['70001'])
  assert.deepEqual(parseListeners(table, 80), ['70004'])
  assert.deepEqual(parseListeners(table, 81), [])
})

// Goal: a busy process shows what it used. Method: burn a known time in this one and compare.
test('the CPU time of a busy process is what it burned', () => {
  const before = readCpu(process.pid)
  const usage = process.cpuUsage()
  for (const burned = process.threadCpuUsage(); process.threadCpuUsage(burned).user < 300_000;);
  const after = readCpu(process.pid)
  const { user, system } = process.cpuUsage(usage)
  assert.ok(Math.abs(after.all - before.all - (user + system) / 1e6) <= 0.03)
  assert.ok(after.mainThread - before.mainThread > 0.1)
})

test('resident memory holds what a process has touched', () => {
  const before = readMemory(process.pid)
  const touched = Buffer.alloc(64 * 2 ** 20, 1)
  const after = readMemory(process.pid)
  assert.ok(after.anonymousBytes - before.anonymousBytes > 0.9 * touched.length)
  assert.ok(after.residentBytes >= after.anonymousBytes)
})

// Goal: measuring a launcher would show a proxy that costs nothing. Method: a shell that stays, with the server as its child.
test('the process that listens is found below its launcher', async () => {
  const script = `const s = require('node:net').createServer().listen(0, '127.0.0.1', () => console.log(process.pid, s.address().port))`
  const launcher = spawn('/bin/sh', ['-c', '"$0" -e "$1"; true', process.execPath, script], { stdio: ['pipe', 'pipe', 'inherit'] })
  assert.ok(launcher.pid !== undefined)
  const [line] = (await once(launcher.stdout, 'data')) as [Buffer]
  const [server, port] = line.toString().trim().split(' ').map(Number)
  assert.ok(server !== undefined && port !== undefined)
  try {
    assert.notEqual(server, launcher.pid)
    assert.equal(listenerUnder(launcher.pid, port), server)
  } finally {
    process.kill(server, 'SIGKILL')
    await once(launcher, 'exit')
  }
})

test('a tree in which nobody listens on the port is refused', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const launcher = spawn('/bin/sh', ['-c', 'cat; true'], { stdio: ['pipe', 'pipe', 'inherit'] })
  assert.ok(launcher.pid !== undefined)
  try {
    launcher.stdin.write('x')
    await once(launcher.stdout, 'data') // By now the shell has its child.
    assert.throws(() => listenerUnder(launcher.pid!, (other.address() as AddressInfo).port))
  } finally {
    launcher.stdin.end()
    await once(launcher, 'exit')
    other.close()
  }
})
