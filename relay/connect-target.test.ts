// Goal: one address that is silent or dead costs little, and no connection is left over. Method: real sockets, and some that never connect.
import assert from 'node:assert/strict'
import net from 'node:net'
import { test } from 'node:test'
import { until } from '../cluster/test-support.ts'
import { addressFormsOf } from './address-forms.ts'
import { connectTarget } from './connect-target.ts'
import { startEcho } from './test-relay.ts'

const addresses = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((text) => addressFormsOf(text)!)
const never = new AbortController().signal

test('TARGET_SLOW: no address answers in time, and no attempt is left', async () => {
  const sockets: net.Socket[] = []
  const dial = (): net.Socket => {
    const socket = new net.Socket()
    sockets.push(socket)
    return socket
  }
  const timing = { allMilliseconds: 100, nextMilliseconds: 10 }
  await assert.rejects(connectTarget(addresses, 1, { timing, signal: never, dial }), { code: 'TARGET_SLOW' })
  assert.equal(sockets.length, 3)
  assert.ok(sockets.every(({ destroyed }) => destroyed))
})

test('TARGET_UNREACHABLE: every address refuses', async () => {
  const dial = (): net.Socket => {
    const socket = new net.Socket()
    queueMicrotask(() => socket.destroy(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })))
    return socket
  }
  const timing = { allMilliseconds: 60_000, nextMilliseconds: 60_000 }
  const asked = connectTarget(addresses, 1, { timing, signal: never, dial })
  await assert.rejects(asked, { code: 'TARGET_UNREACHABLE', message: /ECONNREFUSED/ })
})

test('the next address is tried beside one that is silent, and the first to answer is the one', async () => {
  await using echo = await startEcho()
  const silent = new net.Socket()
  const dial = (address: string): net.Socket => (address === '10.0.0.1' ? silent : net.connect(echo.port, '127.0.0.1'))
  const timing = { allMilliseconds: 60_000, nextMilliseconds: 1 }
  const { socket, address } = await connectTarget(addresses, echo.port, { timing, signal: never, dial })
  assert.ok(address.text === '10.0.0.2' || address.text === '10.0.0.3')
  assert.equal(silent.destroyed, true)
  await until(() => echo.sockets.size === 1)
  socket.destroy()
})

test('who asks no more ends the attempts', async () => {
  const silent = new net.Socket()
  const ending = new AbortController()
  const timing = { allMilliseconds: 60_000, nextMilliseconds: 60_000 }
  const asked = connectTarget(addresses, 1, { timing, signal: ending.signal, dial: () => silent })
  ending.abort(new Error('gone'))
  await assert.rejects(asked, { message: 'gone' })
  assert.equal(silent.destroyed, true)
})
