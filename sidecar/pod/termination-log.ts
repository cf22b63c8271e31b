/**
 * The file that Kubernetes shows as the reason why a container ended (`terminationMessagePath`): `kubectl describe pod` prints it.
 *
 * Holds the last text only, at most what the kubelet reads. A file that cannot be written is no reason to stop: the log says the same.
 */
import { writeFileSync } from 'node:fs'
import { messageOf } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'

/** Kubernetes' limit of a container's message; source: API reference, Container v1 core, terminationMessagePath. */
const messageBytesMax = 4096

export type TerminationLog = { write(text: string): void }

export function openTerminationLog(path: string, log: Log): TerminationLog {
  let failed = false
  return {
    write(text) {
      try {
        // Never longer in UTF-8 than the limit, and never cut inside a character.
        let cut = text
        while (Buffer.byteLength(cut) > messageBytesMax) cut = cut.slice(0, Math.floor(cut.length * 0.9))
        writeFileSync(path, cut)
      } catch (error) {
        if (!failed) log.warn({ path }, `the termination message cannot be written: ${messageOf(error)}`)
        failed = true
      }
    },
  }
}
