/** A connection that a container's variables name, before it has a number and a port. */
import type { MergedDatabase } from '../../crds/merge.ts'
import type { VariableRule } from '../../crds/session-policy.ts'
import type { LibpqPart } from '../../crds/sidecar-config.ts'
import type { Environment, Expression, Leaf } from './expression.ts'
import type { Report } from './rules.ts'
import type { Wanted } from './source-variables.ts'

export type UrlRule = Extract<VariableRule, { form: 'url' }>
export type LibpqRule = Extract<VariableRule, { form: 'libpq' }>

/** What is known while the connections of one container to one database are looked for. */
export type Facts = {
  readonly environment: Environment
  readonly database: MergedDatabase
  /** Ports at which the sidecar listens for this database by an earlier review. */
  readonly knownPorts: ReadonlySet<number>
  /** The container, for messages: `spec.containers[0]`. */
  readonly where: string
  readonly report: Report
}

export type Found = {
  readonly database: MergedDatabase
  readonly source:
    | { readonly kind: 'url'; readonly wanted: Wanted }
    | { readonly kind: 'libpq'; readonly parts: readonly (readonly [LibpqPart, Wanted])[] }
  /** The places in `env` of the variables that it is made of. */
  readonly entries: readonly number[]
  /** What the agent's variables become: values as `env` writes them. */
  variables(port: number): ReadonlyMap<string, string>
}

/** As whom an agent connects whose user cannot be seen; the sidecar signs in as the real one. */
export const agentUser = 'agent'

/**
 * A variable that the policy names and that only `envFrom` can hold. With one possible source it comes from there, and has to be there when
 * `isStrict` and the source itself has to; with several the last that has it counts.
 */
export function namedLeaf(leaf: Leaf, { isStrict }: { readonly isStrict: boolean }): Leaf {
  const [only] = leaf.alternatives
  if (leaf.alternatives.length > 1 || only === undefined || !isStrict || leaf.envFrom?.[0]?.isOptional !== false) return leaf
  const { secretKeyRef, configMapKeyRef } = only
  const required = ({ name, key }: { readonly name?: string; readonly key: string }) => ({ ...(name === undefined ? {} : { name }), key })
  const from =
    secretKeyRef !== undefined
      ? { secretKeyRef: required(secretKeyRef) }
      : configMapKeyRef !== undefined
        ? { configMapKeyRef: required(configMapKeyRef) }
        : only
  return { ...leaf, alternatives: [from], otherwise: null }
}

/**
 * The value of a variable of its own, rather than as a part of another: where nothing gives it, it is not `$(NAME)` but not set, which for a
 * part of a connection is written as empty, because the sidecar expects each part that it is told of.
 */
export function ownValue(expression: Expression, name: string, { whenUnset }: { readonly whenUnset: 'empty' | 'unset' }): Expression {
  const [only] = expression
  if (expression.length !== 1 || only?.kind !== 'leaf' || only.otherwise === null) return expression
  const [before] = only.otherwise
  const isUnset = only.otherwise.length === 1 && before?.kind === 'elsewhere' && before.name === name
  if (!isUnset) return [{ ...only, otherwise: ownValue(only.otherwise, name, { whenUnset: 'empty' }) }]
  return [{ ...only, otherwise: whenUnset === 'unset' && only.alternatives.length === 1 ? null : [] }]
}
