/**
 * The record `deliveredUnstored`: at recording level `stored` results went on to the agent although the store did not have them, because the
 * policy says so (`onFailure: continue`). All of it is recorded; what is not proven is that it was stored first.
 */
import { natural, nullable, object, parseJson, time, type Check } from './shape.ts'

/** Milliseconds since the epoch; `to` is null in the record that begins a stretch, with the bytes so far. */
export type DeliveredUnstored = { readonly from: number; readonly to: number | null; readonly bytes: number }

const checkDeliveredUnstored: Check<DeliveredUnstored> = object<DeliveredUnstored>({ from: time, to: nullable(time), bytes: natural })

/** @throws BadDocument */
export function readDeliveredUnstored(payload: Buffer): DeliveredUnstored {
  return checkDeliveredUnstored(parseJson(payload, 'the record deliveredUnstored'), 'the record deliveredUnstored')
}

/** One for each stretch: what its last record says. A stretch whose recorder was killed has no end. */
export function stretchesOf(records: readonly DeliveredUnstored[]): DeliveredUnstored[] {
  const stretches = new Map<number, DeliveredUnstored>()
  for (const record of records) stretches.set(record.from, record)
  return [...stretches.values()]
}
