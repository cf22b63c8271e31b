/** A count as an option's value. */
import { InvalidArgumentError } from 'commander'

/** From 1. @throws InvalidArgumentError */
export function wholeNumber(text: string): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : 0
  if (value < 1) throw new InvalidArgumentError('It must be a whole number from 1.')
  return value
}
