/**
 * What a container's variables are made of: texts, keys of Secrets and ConfigMaps, fields of the pod, joined as `$(NAME)` says.
 *
 * An expression names no other variable any more, so it means the same in whichever container it is written. What nobody can see in the
 * pod (keys behind `envFrom`, variables of Services) has pieces of its own. Bounded: a variable that grows beyond `piecesMax`, `weightMax` or
 * `textCharactersMax` is a piece that cannot be moved, and so are all behind the one with which a container grows beyond its own bounds. Order and precedence are the kubelet's (pkg/kubelet, makeEnvironmentVariables):
 * `envFrom` first, then `env` in order, each seeing only what stands before it; a reference that is optional and missing sets nothing.
 */
import type { V1Container, V1EnvVar, V1EnvVarSource } from '@kubernetes/client-node'
import { tokensOf, type Token } from './expansion.ts'

export type Text = { readonly kind: 'text'; readonly text: string }

export type Leaf = {
  readonly kind: 'leaf'
  /** The variable that had it. */
  readonly variable: string
  /** The last that is there counts; those from `envFrom` and those that may be missing are optional. */
  readonly alternatives: readonly V1EnvVarSource[]
  /** What the variable is when none is there; null when the last alternative has to be there. */
  readonly otherwise: Expression | null
  /** For a variable that can only come from `envFrom`: whether each source may be missing. */
  readonly envFrom: readonly { readonly isOptional: boolean }[] | null
}

/** A name that the pod does not define: a Service's variable, or text that stays `$(NAME)`. */
export type Elsewhere = { readonly kind: 'elsewhere'; readonly name: string }

/** `why` completes "it". */
export type Unmovable = { readonly kind: 'unmovable'; readonly why: string }

export type Piece = Text | Leaf | Elsewhere | Unmovable
export type Expression = readonly Piece[]

export type Entry = {
  readonly variable: V1EnvVar
  readonly expression: Expression
  /** Entries (by their place) that its value names directly. */
  readonly uses: readonly number[]
}

export type Environment = {
  /** One for each item of `env`. */
  readonly entries: readonly Entry[]
  /** True when its variables are made of so much, through one another, that the rest of them was not read. */
  readonly isTooLarge: boolean
  /** The place of the entry that a process sees under this name; -1 when `env` has none. */
  indexOf(name: string): number
  /** What `envFrom` may give a variable of this name; null when no source can. */
  fromSources(name: string): Leaf | null
  /** What a text means in this container: of `command` and `args`. */
  expressionOf(text: string): Expression
}

const piecesMax = 512
const textCharactersMax = 131_072
/** Of one variable: its pieces, their alternatives, and what stands in for missing ones; so deep may expressions nest, too. */
const weightMax = 1_024
/** Of all variables of a container together: a page of variables that name one another twice would be larger than any memory. */
const containerWeightMax = 200_000
/** Of all variables of a container together; the API server takes no object with so much text that does not name itself over and over. */
const containerCharactersMax = 4 * 1024 * 1024

const tooLong: Unmovable = { kind: 'unmovable', why: 'becomes longer than a variable can be' }

export function readEnvironment({ name: containerName, env, envFrom }: Pick<V1Container, 'name' | 'env' | 'envFrom'>): Environment {
  const entries: Entry[] = []
  const seen = new Map<string, number>()
  const ofSources = new Map<string, Leaf | null>()
  let charactersLeft = containerCharactersMax
  let weightLeft = containerWeightMax

  function fromSources(name: string): Leaf | null {
    const known = ofSources.get(name)
    if (known !== undefined) return known
    const leaf = leafOfSources(name)
    ofSources.set(name, leaf)
    weightLeft -= leaf === null ? 0 : weightOf([leaf])
    return leaf
  }

  function leafOfSources(name: string): Leaf | null {
    const candidates = (envFrom ?? []).flatMap((source): { readonly from: V1EnvVarSource; readonly isOptional: boolean }[] => {
      const prefix = source.prefix ?? ''
      if (!name.startsWith(prefix) || name === prefix) return []
      const key = name.slice(prefix.length)
      const isOptional = (source.secretRef ?? source.configMapRef)?.optional === true
      if (source.secretRef?.name) return [{ from: { secretKeyRef: { name: source.secretRef.name, key, optional: true } }, isOptional }]
      if (source.configMapRef?.name)
        return [{ from: { configMapKeyRef: { name: source.configMapRef.name, key, optional: true } }, isOptional }]
      return []
    })
    if (candidates.length === 0) return null
    return {
      kind: 'leaf',
      variable: name,
      alternatives: candidates.map(({ from }) => from),
      otherwise: [{ kind: 'elsewhere', name }],
      envFrom: candidates.map(({ isOptional }) => ({ isOptional })),
    }
  }

  function valueOf(name: string): Expression {
    const index = seen.get(name)
    if (index !== undefined) return entries[index]!.expression
    return [fromSources(name) ?? { kind: 'elsewhere', name }]
  }

  function expressionOf(text: string): Expression {
    const expression = weightLeft < 0 ? [tooLong] : joined(tokensOf(text), valueOf)
    for (const piece of expression) if (piece.kind === 'text') charactersLeft -= piece.text.length
    return charactersLeft < 0 ? [tooLong] : expression
  }

  for (const [index, variable] of (env ?? []).entries()) {
    const { name, value, valueFrom } = variable
    let expression: Expression = []
    let uses: number[] = []
    if (value) {
      expression = expressionOf(value)
      uses = tokensOf(value).flatMap((token) => (token.kind === 'reference' ? (seen.get(token.name) ?? []) : []))
    } else if (valueFrom) {
      expression = [pieceOf(variable, valueFrom, containerName, () => valueOf(name))]
      // Where its key is missing, it is what stood before it under the same name.
      uses = seen.has(name) ? [seen.get(name)!] : []
    }
    const weight = weightOf(expression)
    weightLeft -= weight
    if (weight > weightMax || weightLeft < 0) expression = [tooLong]
    entries.push({ variable, expression, uses })
    seen.set(name, index)
  }
  return { entries, isTooLarge: weightLeft < 0 || charactersLeft < 0, indexOf: (name) => seen.get(name) ?? -1, fromSources, expressionOf }
}

function pieceOf({ name }: V1EnvVar, from: V1EnvVarSource, containerName: string, before: () => Expression): Piece {
  const leaf = (source: V1EnvVarSource, isOptional: boolean | undefined): Leaf => ({
    kind: 'leaf',
    variable: name,
    alternatives: [source],
    otherwise: isOptional === true ? before() : null,
    envFrom: null,
  })
  const { secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef } = from
  if (secretKeyRef?.name) return leaf({ secretKeyRef }, secretKeyRef.optional)
  if (configMapKeyRef?.name) return leaf({ configMapKeyRef }, configMapKeyRef.optional)
  if (fieldRef) return leaf({ fieldRef }, false)
  // Without a name it means the container that it stands in.
  if (resourceFieldRef) return leaf({ resourceFieldRef: Object.assign({ containerName }, resourceFieldRef) }, false)
  const kind = Object.keys(from)[0]
  return { kind: 'unmovable', why: kind === undefined ? 'has an empty valueFrom' : `comes from a ${kind}, which a sidecar cannot have` }
}

/** Neighbouring texts become one. No more is looked up than is kept. */
function joined(tokens: readonly Token[], valueOf: (name: string) => Expression): Expression {
  const pieces: Piece[] = []
  let characters = 0
  for (const token of tokens)
    for (const piece of token.kind === 'text' ? [token] : valueOf(token.name)) {
      const last = pieces.at(-1)
      if (piece.kind === 'text') characters += piece.text.length
      if (characters > textCharactersMax || pieces.length >= piecesMax) return [tooLong]
      if (piece.kind === 'text' && last?.kind === 'text') pieces[pieces.length - 1] = { kind: 'text', text: last.text + piece.text }
      else pieces.push(piece)
    }
  return pieces
}

const weights = new WeakMap<Leaf, number>()

/** How much there is to go through in it. Leaves share what stands in for them, so the sum of each is kept. */
function weightOf(expression: Expression): number {
  return expression.reduce((sum, piece) => {
    if (piece.kind !== 'leaf') return sum + 1
    const weight = weights.get(piece) ?? 1 + piece.alternatives.length + weightOf(piece.otherwise ?? [])
    weights.set(piece, weight)
    return sum + weight
  }, 0)
}

/** A piece in it that cannot be moved, wherever it stands. */
export function unmovableIn(expression: Expression): Unmovable | null {
  for (const piece of expression) {
    const found = piece.kind === 'leaf' ? unmovableIn(piece.otherwise ?? []) : piece.kind === 'unmovable' ? piece : null
    if (found !== null) return found
  }
  return null
}

/** The text of an expression that has nothing but text; null for any other. */
export function textOf(expression: Expression): string | null {
  return expression.every((piece) => piece.kind === 'text') ? expression.map((piece) => piece.text).join('') : null
}

/** Every leaf in it, those that stand in for missing ones included. */
export function leavesOf(expression: Expression): Leaf[] {
  return expression.flatMap((piece) => (piece.kind === 'leaf' ? [piece, ...leavesOf(piece.otherwise ?? [])] : []))
}

/** Every name in it that the pod does not define. */
export function elsewhereOf(expression: Expression): string[] {
  return expression.flatMap((piece) =>
    piece.kind === 'elsewhere' ? [piece.name] : piece.kind === 'leaf' ? elsewhereOf(piece.otherwise ?? []) : [],
  )
}
