/**
 * Reads PostgreSQL's binary values: big-endian numbers and counted bytes, never beyond the value's end.
 *
 * Knows no types. Every read past the end throws `MalformedValue`, which `text-of.ts` turns into hexadecimal.
 */

/** The bytes are not what the type's send function writes. Caught inside this folder; never leaves it. */
export class MalformedValue extends Error {}

export function malformed(what: string): never {
  throw new MalformedValue(what)
}

export type Reader = ReturnType<typeof createReader>

export function createReader(bytes: Buffer) {
  let at = 0
  function take(count: number): number {
    if (count < 0 || bytes.length - at < count) malformed('the value ends too soon')
    const start = at
    at += count
    return start
  }
  return {
    get left(): number {
      return bytes.length - at
    },
    uint8: (): number => bytes.readUInt8(take(1)),
    int16: (): number => bytes.readInt16BE(take(2)),
    uint16: (): number => bytes.readUInt16BE(take(2)),
    int32: (): number => bytes.readInt32BE(take(4)),
    uint32: (): number => bytes.readUInt32BE(take(4)),
    int64: (): bigint => bytes.readBigInt64BE(take(8)),
    uint64: (): bigint => bytes.readBigUInt64BE(take(8)),
    float4: (): number => bytes.readFloatBE(take(4)),
    float8: (): number => bytes.readDoubleBE(take(8)),
    /** Aliases the value. */
    bytes(count: number): Buffer {
      const start = take(count)
      return bytes.subarray(start, start + count)
    },
    rest(): Buffer {
      const start = take(bytes.length - at)
      return bytes.subarray(start)
    },
    /** Bytes up to a zero byte, which is passed over. */
    zeroTerminated(): Buffer {
      const end = bytes.indexOf(0, at)
      if (end < 0) malformed('a string has no end')
      const start = take(end - at + 1)
      return bytes.subarray(start, end)
    },
    /** The bytes behind a 32-bit length, or null for the length -1 that means SQL NULL. */
    counted(): Buffer | null {
      const count = bytes.readInt32BE(take(4))
      return count === -1 ? null : this.bytes(count)
    },
  }
}
