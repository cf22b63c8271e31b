/**
 * `$(NAME)` in values of a container's env, command and args, taken apart as the kubelet does.
 *
 * `$$` stands for one dollar sign wherever it is; a dollar sign before anything else, and `$(` without an end, are plain text. Knows nothing
 * of what a name stands for. Source: Kubernetes, "Define Dependent Environment Variables"; third_party/forked/golang/expansion.
 */

export type Token = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'reference'; readonly name: string }

/** In order; texts are unescaped, never empty and never beside each other. */
export function tokensOf(value: string): Token[] {
  const tokens: Token[] = []
  let text = ''
  let at = 0
  // Looked for once: a text of nothing but `$(` would be searched to its end at each.
  const lastClose = value.lastIndexOf(')')
  while (at < value.length) {
    const dollar = value.indexOf('$', at)
    if (dollar < 0) break
    text += value.slice(at, dollar)
    const next = value[dollar + 1]
    const end = next === '(' && dollar < lastClose ? value.indexOf(')', dollar + 2) : -1
    if (end >= 0) {
      if (text !== '') tokens.push({ kind: 'text', text })
      text = ''
      tokens.push({ kind: 'reference', name: value.slice(dollar + 2, end) })
      at = end + 1
    } else if (next === '$') {
      text += '$'
      at = dollar + 2
    } else {
      // The kubelet takes the character behind it along, which changes nothing: it is no dollar sign.
      text += '$'
      at = dollar + 1
    }
  }
  text += value.slice(at)
  if (text !== '') tokens.push({ kind: 'text', text })
  return tokens
}

/** A value that expands to `text`, whatever stands before or behind it. */
export function escaped(text: string): string {
  return text.replaceAll('$', '$$$$')
}
