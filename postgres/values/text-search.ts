/**
 * Text search: tsvector and tsquery.
 *
 * A tsquery nested deeper than `depthMax` is taken as malformed: the server's own stack limit is of that order.
 */
import type { Context, Decoder } from './decoder.ts'
import { malformed, type Reader } from './reader.ts'

const depthMax = 2_000

function quoted(text: string): string {
  return `'${text.replace(/['\\]/g, '$&$&')}'`
}

export const tsvectorText: Decoder = (reader, { decode }) => {
  const count = reader.int32()
  if (count < 0 || count * 3 > reader.left) malformed('more lexemes than bytes')
  const lexemes: string[] = []
  for (let index = 0; index < count; index++) {
    const lexeme = quoted(decode(reader.zeroTerminated()))
    const positions: string[] = []
    for (let left = reader.uint16(); left > 0; left--) {
      const position = reader.uint16()
      positions.push(`${position & 0x3fff}${['', 'C', 'B', 'A'][position >> 14]!}`)
    }
    lexemes.push(positions.length > 0 ? `${lexeme}:${positions.join(',')}` : lexeme)
  }
  return lexemes.join(' ')
}

type Operator = { readonly shown: string; readonly priority: number; readonly phrase: boolean }
type Node = { readonly text: string } | { readonly not: Node } | { readonly operator: Operator; readonly left: Node; readonly right: Node }

const notPriority = 4

export const tsqueryText: Decoder = (reader, context) => {
  const size = reader.int32()
  if (size === 0) return ''
  const budget = { items: size }
  const root = readNode(reader, context, budget, 0)
  if (budget.items !== 0) malformed('a query of the wrong size')
  return infix(root, -1, false)
}

/** The items stand in prefix order, an operator's right operand before its left. */
function readNode(reader: Reader, context: Context, budget: { items: number }, depth: number): Node {
  if (depth > depthMax || budget.items <= 0) malformed('a query nests too deeply or has the wrong size')
  budget.items--
  const kind = reader.uint8()
  if (kind === 1) return { text: operand(reader, context) }
  if (kind !== 2) malformed('an unknown item in a query')
  const code = reader.uint8()
  if (code === 1) return { not: readNode(reader, context, budget, depth + 1) }
  const operator = operatorOf(code, reader)
  const right = readNode(reader, context, budget, depth + 1)
  return { operator, right, left: readNode(reader, context, budget, depth + 1) }
}

function operatorOf(code: number, reader: Reader): Operator {
  if (code === 2) return { shown: '&', priority: 2, phrase: false }
  if (code === 3) return { shown: '|', priority: 1, phrase: false }
  if (code !== 4) malformed('an unknown operator in a query')
  const distance = reader.int16()
  return { shown: distance === 1 ? '<->' : `<${distance}>`, priority: 3, phrase: true }
}

function operand(reader: Reader, { decode }: Context): string {
  const weights = reader.uint8()
  const prefix = reader.uint8() !== 0
  const word = quoted(decode(reader.zeroTerminated()))
  if (weights === 0 && !prefix) return word
  const letters = ['A', 'B', 'C', 'D'].filter((_, index) => (weights & (8 >> index)) !== 0)
  return `${word}:${prefix ? '*' : ''}${letters.join('')}`
}

function infix(node: Node, parentPriority: number, rightOfPhrase: boolean): string {
  if ('text' in node) return node.text
  if ('not' in node) {
    const shown = `!${infix(node.not, notPriority, false)}`
    return notPriority < parentPriority ? `( ${shown} )` : shown
  }
  const { operator, left, right } = node
  const shown = `${infix(left, operator.priority, false)} ${operator.shown} ${infix(right, operator.priority, operator.phrase)}`
  // The phrase operator is not associative: what stands right of it keeps its brackets.
  return operator.priority < parentPriority || (operator.phrase && rightOfPhrase) ? `( ${shown} )` : shown
}
