// Goal: in an opted-in namespace nobody creates a pod without the exact sidecar, changes it, or gets at what it holds, and everybody else's
// work goes on. Method: a real API server with no webhook of steno's; each rule broken and kept by a namespace's admin and editor, and by steno's own accounts.
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { testAccess } from './policies-suite-access.ts'
import { testChanges } from './policies-suite-changed.ts'
import { testCluster } from './policies-suite-cluster.ts'
import { testCreation } from './policies-suite-created.ts'
import { testOwnAccounts } from './policies-suite-own.ts'
import { createPoliciesWorld, type PoliciesWorld } from './policies-world.ts'

let shared: PoliciesWorld | undefined

before(async () => {
  if (process.env['KUBECONFIG'] !== undefined) shared = await createPoliciesWorld()
})
after(async () => {
  await shared?.[Symbol.asyncDispose]()
})

function world(): PoliciesWorld {
  assert.ok(shared)
  return shared
}

testCreation(world)
testChanges(world)
testAccess(world)
testOwnAccounts(world)
testCluster(world)
