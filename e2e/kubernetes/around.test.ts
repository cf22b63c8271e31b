// Goal: in mode Relay nothing but the sidecar's recorded sessions reaches the database, whatever the agent is and its namespace's editor does.
// Method: real pods try every way; each attempt succeeds where steno is not. At the end the database's own log says who came.
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { testEditor } from './around/suite-editor.ts'
import { testInside } from './around/suite-inside.ts'
import { testLog } from './around/suite-log.ts'
import { testRelay } from './around/suite-relay.ts'
import { testTraps } from './around/suite-trap.ts'
import { testWays } from './around/suite-ways.ts'
import { waysOut } from './around/ways.ts'
import { createWorld, type World } from './around/world.ts'

let shared: World | undefined

before(async () => {
  if (process.env['KUBECONFIG'] !== undefined) shared = await createWorld(waysOut)
})
after(async () => {
  await shared?.[Symbol.asyncDispose]()
})

function world(): World {
  assert.ok(shared)
  return shared
}

testWays(world)
testRelay(world)
testInside(world)
testTraps(world)
testEditor(world)
testLog(world)
