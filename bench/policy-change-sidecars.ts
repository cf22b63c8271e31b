/**
 * Many sidecars' ends of control's stream in one process, for `policy-change.ts`: the real client and the real check, a TLS connection each.
 *
 * Tells its parent when all are connected, and of each round when each of those that a change concerns had taken it. Ends when the parent does.
 */
import { createPublicKey } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLog } from '../base/log.ts'
import { readPolicyDocument, type PolicyDocument } from '../session/policy-document.ts'
import { startPolicyClient } from '../sidecar/pod/policy/policy-client.ts'

const [folder = '', origin = '', ca = '', publicKeyPem = '', count = '0'] = process.argv.slice(2)
const publicKeys = [createPublicKey(publicKeyPem)]
const log = createLog({ level: 'warn' })
/** Tokens that control has not seen are reviewed few at a time for each address. */
const startingMax = 8

let taken: { readonly marker: string; readonly at: number }[] = []

async function start(number: number): Promise<void> {
  const podName = `pod-${number}`
  const tokenFile = join(folder, podName)
  writeFileSync(tokenFile, `token-of-${podName}`)
  let known: PolicyDocument | null = null
  await new Promise<void>((resolve) => {
    startPolicyClient({
      connection: { origin: new URL(origin), tokenFile, caPem: ca },
      known: () => known,
      onDocument(bytes) {
        known = readPolicyDocument(bytes, { pod: { podUid: `uid-${podName}`, podNamespace: 'shop', podName }, publicKeys, known })
        taken.push({ marker: known.databases[0]?.hosts[0] ?? known.state, at: Date.now() })
        resolve()
        return Promise.resolve()
      },
      log,
    })
  })
}

process.on('disconnect', () => process.exit(0))
process.on('message', (marker: string) => {
  process.send?.(taken.filter((each) => each.marker === marker).map(({ at }) => at))
})
const waiting = Array.from({ length: Number(count) }, (_, number) => number)
await Promise.all(
  Array.from({ length: startingMax }, async () => {
    for (let number = waiting.shift(); number !== undefined; number = waiting.shift()) await start(number)
  }),
)
taken = []
process.send?.('connected')
