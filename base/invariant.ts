/** States what must hold whatever a peer or a user does; a failure is a defect of steno, never bad input. */
export function invariant(condition: boolean, statement: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${statement}`)
}
