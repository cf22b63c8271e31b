/** How much of a session was lost with its recorder, in words. */
import type { LostPart } from '../session/read-session.ts'
import { counted } from './text.ts'

const reasons: Readonly<Record<LostPart['why'], string>> = {
  'pod-deleted': 'its pod was deleted',
  'pod-ended': 'its pod ended',
  'pod-not-found': 'its pod is gone',
}

export function lostText({ why, missing }: LostPart): string {
  const lost = `lost with its recorder (${reasons[why]})`
  if (missing === null) return `${lost}: nobody knows how much is missing`
  const { records, bytes, statements } = missing
  if (records === 0) return `${lost}: nothing that it claimed is missing`
  const size = bytes === null ? '' : ` (${counted(bytes, 'byte')})`
  return `${lost}: ${counted(records, 'record')}${size} and ${counted(statements, 'statement')} are missing`
}
