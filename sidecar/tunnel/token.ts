/**
 * The token that shows the relay whose sidecar this is: a file that the kubelet writes and replaces before it expires.
 *
 * Looked at for each dial and read again when it has changed; the token itself is in no error.
 */
import { readFile, stat } from 'node:fs/promises'
import { messageOf } from '../../base/errors.ts'
import { RelayFailure } from './failure.ts'

/** Where the kubelet mounts it; source: volume `steno-token` of an injected pod. */
export const relayTokenFileStandard = '/var/run/secrets/steno.dev/relay-token'

const tokenBytesMax = 16 * 1024
const remedy = 'Check that the pod has the volume steno-token with relay-token in it, and that its ServiceAccount exists.'

export type TokenFile = {
  /** `again`: not the one of before, even when the file looks the same. @throws RelayFailure when there is none */
  token(options?: { readonly again?: boolean }): Promise<string>
}

export function openTokenFile(path: string): TokenFile {
  let known: { readonly facts: string; readonly token: string } | null = null
  return {
    async token({ again = false } = {}) {
      let read: { readonly facts: string; readonly token: string }
      try {
        // `stat` follows the link that the kubelet turns to another folder, whose files are others.
        const { mtimeMs, ino, size } = await stat(path)
        const facts = `${mtimeMs} ${ino} ${size}`
        if (known !== null && known.facts === facts && !again) return known.token
        read = { facts, token: (await readFile(path, 'latin1')).trim() }
      } catch (error) {
        throw new RelayFailure('TOKEN_MISSING', `the token for the relay cannot be read: ${messageOf(error)}`, remedy, { cause: error })
      }
      if (read.token.length > tokenBytesMax || !/^[\x21-\x7e]+$/.test(read.token))
        throw new RelayFailure('TOKEN_MISSING', `the file ${path} holds no token`, remedy)
      known = read
      return read.token
    },
  }
}
