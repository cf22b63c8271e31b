// Goal: an event that is told is one that the API server takes, whatever the object's name and the policy's words. Method: what is sent,
// against the rules of the API server (metadata.name a DNS subdomain; note of at most 1,024 bytes).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ClusterRequest } from '../../cluster/client.ts'
import { ClusterRefused } from '../../cluster/errors.ts'
import { resources } from '../../cluster/resources.ts'
import { testLog } from '../../cluster/test-support.ts'
import { shortened, withFindings } from '../../cluster/conditions.ts'
import { createEventRecorder } from './event-recorder.ts'

type Body = { readonly metadata: { readonly name: string }; readonly note: string }

async function sent(name: string, note: string): Promise<Body> {
  const ending = new AbortController()
  const { log } = testLog()
  const body = await new Promise<unknown>((resolve) => {
    const request = <T>(asked: ClusterRequest): Promise<T> => (resolve(asked.body), Promise.resolve({} as T))
    const events = createEventRecorder({ cluster: { request }, instance: 'one', log, signal: ending.signal })
    events.tell({
      regarding: { resource: resources.pods, namespace: 'shop', name, uid: 'x' },
      type: 'Normal',
      reason: 'R',
      action: 'A',
      note,
    })
  })
  ending.abort()
  return body as Body
}

test('a name at the limit, cut anywhere, and a note of any words are as the API server wants them', async () => {
  const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
  for (let length = 225; length <= 253; length++) {
    const name = `${'a-b.'.repeat(70).slice(0, length - 1)}z`
    const { metadata } = await sent(name, 'x')
    assert.ok(metadata.name.length <= 253 && metadata.name.split('.').every((part) => label.test(part)), metadata.name)
  }
  for (const note of ['’'.repeat(900), '😀'.repeat(900), '\uD83D'.repeat(2_000), `${'x'.repeat(998)}😀😀`]) {
    const body = await sent('pod', note)
    assert.ok(Buffer.byteLength(body.note) <= 1_024 && body.note.isWellFormed() && body.note.endsWith('…'))
    assert.ok(body.note.includes('\uFFFD') === !note.isWellFormed())
  }
})

test('what a condition says comes back from the API server as it was written, so it is written once', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.integer({ min: 4, max: 40 }), (text, most) => {
      const message = shortened(text.replaceAll('a', '\uD83D'), most)
      assert.ok(message.isWellFormed() && message.length <= most)
    }),
  )
  const long = `${'x'.repeat(3_997)}😀😀`
  const [condition] = withFindings([], [{ type: 'Ready', status: 'True', reason: 'R', message: long }], { generation: 1, now: 'now' })
  assert.equal(Buffer.from(condition!.message).toString(), condition!.message)
})

test('an event that cannot be written is worth a warning, but not in a namespace that is being deleted', async () => {
  const { log, lines } = testLog()
  const ending = new AbortController()
  const causes = [['NamespaceTerminating'], ['Other']]
  const asked = Promise.withResolvers<void>()
  const request = async <T>(): Promise<T> => {
    const cause = causes.shift()
    if (cause === undefined) asked.resolve()
    throw new ClusterRefused('POST', { status: 403, reason: 'Forbidden', causes: cause ?? [], message: '', retryAfterMilliseconds: null })
  }
  const events = createEventRecorder({ cluster: { request }, instance: 'one', log, signal: ending.signal })
  for (const name of ['one', 'two', 'three'])
    events.tell({
      regarding: { resource: resources.pods, namespace: 'shop', name, uid: name },
      type: 'Normal',
      reason: name,
      action: 'A',
      note: '',
    })
  await asked.promise
  ending.abort()
  assert.deepEqual(
    lines.map(({ reason }) => reason),
    ['two'],
  )
})
