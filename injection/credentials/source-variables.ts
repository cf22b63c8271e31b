/**
 * The variables by which the sidecar gets what was moved: `STENO_SOURCE_<n>_<NAME>`, and whether two sources are the same.
 *
 * The kubelet puts them together in the sidecar exactly as it would have in the agent's container: each key has a variable of its own, and a
 * composed value names it. Where it is only known at the start of the pod which of several keys is there, the variable stands more than once,
 * and a later one replaces an earlier one only when its key is there; the variable that a listener names stands once.
 */
import type { V1EnvVar } from '@kubernetes/client-node'
import type { ListenerSource } from '../../crds/sidecar-config.ts'
import { canonicalJson, type Json } from '../../crds/canonical-json.ts'
import { escaped, tokensOf, type Token } from './expansion.ts'
import type { Expression, Leaf, Piece } from './expression.ts'

export type Wanted = { readonly variable: string; readonly expression: Expression }

/** The variables for `wanted`, in order; the last of each name in `names` is what the listener reads. */
export function sourceVariables(
  number: number,
  wanted: readonly Wanted[],
): { readonly env: V1EnvVar[]; readonly names: readonly string[] } {
  const env: V1EnvVar[] = []
  const taken = new Set<string>()
  const byLeaf = new Map<string, string>()

  function nameFor(variable: string): string {
    const plain = `STENO_SOURCE_${number}_${variable.replace(/[^A-Za-z0-9_.-]/g, '_')}`
    let name = plain
    for (let count = 2; taken.has(name); count++) name = `${plain}.${count}`
    taken.add(name)
    return name
  }

  function nameOfLeaf(leaf: Leaf): string {
    const identity = canonicalJson(plainJson({ alternatives: leaf.alternatives, otherwise: leaf.otherwise }))
    const known = byLeaf.get(identity)
    if (known !== undefined) return known
    const base = leaf.otherwise === null ? null : valueOf(leaf.otherwise)
    const name = nameFor(leaf.variable)
    byLeaf.set(identity, name)
    if (base !== null) env.push({ name, value: base })
    for (const valueFrom of leaf.alternatives) env.push({ name, valueFrom })
    return name
  }

  function textOfPiece(piece: Piece): string {
    switch (piece.kind) {
      case 'text':
        return escaped(piece.text)
      case 'leaf':
        return `$(${nameOfLeaf(piece)})`
      case 'elsewhere':
        // The sidecar has variables of its own under such names, which the agent's container has not.
        return piece.name.startsWith('STENO_') ? escaped(`$(${piece.name})`) : `$(${piece.name})`
      case 'unmovable':
        throw new TypeError('what cannot be moved is refused before')
      default:
        return piece satisfies never
    }
  }

  function valueOf(expression: Expression): string {
    return expression.map(textOfPiece).join('')
  }

  const tops = wanted.map(({ variable }) => nameFor(variable))
  for (const [index, { expression }] of wanted.entries()) {
    const name = tops[index]!
    const [only] = expression
    const direct = expression.length === 1 && only?.kind === 'leaf' && only.otherwise === null ? only.alternatives : []
    if (direct.length === 1) env.push({ name, valueFrom: direct[0]! })
    else {
      const value = valueOf(expression)
      env.push({ name, value })
    }
  }
  return { env, names: tops }
}

/** Equal for two sources that give the same connection of the same database, whatever their numbers and the names of their variables. */
export function sourceKey(database: string, source: ListenerSource, env: readonly V1EnvVar[]): string {
  const places = new Map<string, string>()
  for (const { name } of env) if (!places.has(name)) places.set(name, `#${places.size}`)
  const plain = env.map(({ name, value, valueFrom }) => ({
    name: places.get(name),
    ...(valueFrom === undefined ? { value: tokensOf(value ?? '').map((token) => placed(token, places)) } : { valueFrom }),
  }))
  const listener =
    source.kind === 'url'
      ? places.get(source.variable)
      : Object.fromEntries(Object.entries(source.variables).map(([part, name]) => [part, places.get(name) ?? '']))
  return canonicalJson(plainJson([database, source.kind, listener, plain]))
}

/** A reference by the place of what it names, so that it is never a text that looks like it. */
function placed(token: Token, places: ReadonlyMap<string, string>): string | { readonly reference: string } {
  return token.kind === 'text' ? token.text : { reference: places.get(token.name) ?? token.name }
}

/** Objects of the client library have classes. */
function plainJson(value: object): Json {
  return JSON.parse(JSON.stringify(value)) as Json
}
