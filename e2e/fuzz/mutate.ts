/** Damages bytes as a bug, a bad disk or an attacker would: single bits and bytes, lengths, types, missing, repeated and foreign parts. */
import type { Random } from '../notices-nothing/random.ts'

const interestingLengths = [
  0, 1, 3, 4, 5, 255, 65_535, 10_001, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffb, 0xffff_ffff,
]
const types = 'QPBDECHSXFcdfpRZTKNAGIVWnst123v\0\xff'

/** `bytes` with one to four damages. `others` are what parts are taken from. */
export function mutate(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  let result: Buffer = Buffer.from(bytes)
  const damages = 1 + random.below(4)
  for (let damage = 0; damage < damages; damage++) result = mutateOnce(random, result, others)
  return result
}

function mutateOnce(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  if (bytes.length === 0) return random.bytes(1 + random.below(20))
  const at = random.below(bytes.length)
  const end = Math.min(bytes.length, at + 1 + random.below(random.pick([2, 20, 400])))
  switch (random.below(10)) {
    case 0:
      bytes[at] = bytes[at]! ^ (1 << random.below(8))
      return bytes
    case 1:
      bytes[at] = random.below(256)
      return bytes
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
    case 3:
      return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(12)), bytes.subarray(at)])
    case 4:
      return bytes.subarray(0, at)
    case 5:
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)])
    case 6: {
      const other = random.pick(others)
      const from = random.below(other.length + 1)
      return Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + random.below(300)), bytes.subarray(at)])
    }
    case 7: {
      const frame = frameStart(random, bytes)
      if (frame + 5 > bytes.length) return bytes
      bytes.writeUInt32BE(
        random.chance(0.5) ? random.pick(interestingLengths) : (bytes.readUInt32BE(frame + 1) + random.below(9) - 4) >>> 0,
        frame + 1,
      )
      return bytes
    }
    case 8:
      bytes[frameStart(random, bytes)] = types.charCodeAt(random.below(types.length))
      return bytes
    default: {
      if (at + 4 > bytes.length) return bytes
      bytes.writeUInt32BE(random.pick(interestingLengths), at)
      return bytes
    }
  }
}

/** Where a random one of the frames begins, as long as they can be followed. */
function frameStart(random: Random, bytes: Buffer): number {
  const starts = [0]
  for (let at = 0; at + 5 <= bytes.length;) {
    at += 1 + Math.max(4, bytes.readUInt32BE(at + 1))
    if (at < bytes.length) starts.push(at)
  }
  return random.pick(starts)
}
