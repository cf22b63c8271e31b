/**
 * The values of a DataRow's body, as they came.
 *
 * Never throws: of a body that is cut or malformed it gives the values that are whole, then what there is of the next.
 */

export type RowValue = {
  /** Null for SQL NULL; aliases the body. */
  readonly bytes: Buffer | null
  /** True when the body ends inside this value. */
  readonly cut: boolean
  /** The value's length as the row states it. */
  readonly wholeBytes: number
}

export function readDataRow(body: Buffer): RowValue[] {
  const values: RowValue[] = []
  const count = body.length >= 2 ? body.readUInt16BE(0) : 0
  for (let at = 2; values.length < count && body.length - at >= 4;) {
    const wholeBytes = body.readInt32BE(at)
    at += 4
    if (wholeBytes < 0) {
      values.push({ bytes: null, cut: false, wholeBytes: 0 })
      continue
    }
    const bytes = body.subarray(at, at + wholeBytes)
    values.push({ bytes, cut: bytes.length < wholeBytes, wholeBytes })
    at += bytes.length
  }
  return values
}
