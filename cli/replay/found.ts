/** Where a searched text stands in a line, and how texts are compared in searches. Pure. */
import { span, textOfLine, type Line, type Span } from './styled-text.ts'

/** Without regard to case unless capitals are searched for, as `less -i` does. */
export function textMatcher(wanted: string): (text: string) => number {
  if (wanted !== wanted.toLowerCase()) return (text) => text.indexOf(wanted)
  return (text) => text.toLowerCase().indexOf(wanted)
}

/** The line with every occurrence marked. A text that changes its length in lower case is left as it is. */
export function found(whole: Line, wanted: string): Line {
  const text = textOfLine(whole)
  if (wanted === '' || text.toLowerCase().length !== text.length) return whole
  const matcher = textMatcher(wanted)
  const marked = new Uint8Array(text.length)
  let any = false
  for (let from = 0; ;) {
    const at = matcher(text.slice(from))
    if (at < 0) break
    marked.fill(1, from + at, from + at + wanted.length)
    from += at + wanted.length
    any = true
  }
  if (!any) return whole
  const spans: Span[] = []
  let column = 0
  for (const part of whole.spans) {
    let start = 0
    for (let at = 1; at <= part.text.length; at++) {
      if (at < part.text.length && marked[column + at] === marked[column + start]) continue
      spans.push(span(part.text.slice(start, at), marked[column + start] === 1 ? 'found' : part.style))
      start = at
    }
    column += part.text.length
  }
  return { ...whole, spans }
}
