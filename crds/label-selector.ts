/**
 * Whether labels are selected: metav1.LabelSelector, and plain `matchLabels`.
 *
 * Source: k8s.io/apimachinery/pkg/labels. NotIn and DoesNotExist also select what lacks the label. The empty selector selects everything.
 */
export type Labels = Readonly<Record<string, string>>

export type LabelSelector = {
  readonly matchLabels?: Labels
  readonly matchExpressions?: readonly {
    readonly key: string
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
    readonly values?: readonly string[]
  }[]
}

export function selectorMatches(selector: LabelSelector, labels: Labels): boolean {
  if (!labelsMatch(selector.matchLabels ?? {}, labels)) return false
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value)
      case 'NotIn':
        return value === undefined || !values.includes(value)
      case 'Exists':
        return value !== undefined
      case 'DoesNotExist':
        return value === undefined
      default:
        return operator satisfies never
    }
  })
}

/** True when each of `wanted` is among `labels` with the same value. */
export function labelsMatch(wanted: Labels, labels: Labels): boolean {
  return Object.entries(wanted).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value)
}
