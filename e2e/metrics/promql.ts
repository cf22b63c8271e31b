/**
 * Which metrics and labels a PromQL expression asks for: enough of the language for the expressions that are checked, and strict, so that a
 * word that is neither a metric nor known is an error.
 */
import assert from 'node:assert/strict'

export type Selector = {
  /** As it stands, with `_bucket`, `_sum` or `_count` of a histogram. */
  readonly metric: string
  readonly matchers: readonly { readonly label: string; readonly operator: string; readonly value: string }[]
}

export type Expression = {
  readonly selectors: readonly Selector[]
  /** Labels that the result is grouped by. */
  readonly grouped: readonly string[]
}

const words = new Set([
  ...['sum', 'min', 'max', 'avg', 'count', 'by', 'without', 'and', 'or', 'unless', 'on', 'ignoring', 'bool', 'offset'],
  ...['rate', 'increase', 'changes', 'histogram_quantile', 'time', 'absent', 'label_values'],
])

export function readExpression(text: string): Expression {
  const selectors: Selector[] = []
  const grouped: string[] = []
  // Ranges, as [5m] or [$__rate_interval], name no metric.
  let rest = text.replaceAll(/\[[^\]]*\]/g, ' ')
  rest = rest.replaceAll(/\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/g, (_, labels: string) => {
    grouped.push(...labels.split(',').map((label) => label.trim()))
    return ' '
  })
  rest = rest.replaceAll(/^label_values\(\s*(.*),\s*(\w+)\s*\)$/gs, (_, selector: string, label: string) => {
    grouped.push(label)
    return selector
  })
  rest = rest.replaceAll(/([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}/g, (_, metric: string, inner: string) => {
    selectors.push({ metric, matchers: matchersIn(inner) })
    return ' '
  })
  for (const [word] of rest.matchAll(/[a-zA-Z_:][\w:]*/g)) {
    if (words.has(word)) continue
    selectors.push({ metric: word, matchers: [] })
  }
  assert.ok(selectors.length > 0, `no metric in ${text}`)
  return { selectors, grouped }
}

function matchersIn(text: string): Selector['matchers'] {
  const found = [...text.matchAll(/\s*(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*(?:,|$)/g)]
  assert.equal(found.map(([whole]) => whole).join(''), text, `the matchers are readable: ${text}`)
  return found.map(([, label = '', operator = '', value = '']) => ({ label, operator, value }))
}
