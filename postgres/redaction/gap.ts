/**
 * White space and comments, as they may stand between the two words of a trigger, such as `OPTIONS` and its parenthesis.
 *
 * Comments nest, as in the server, and may be of any length. All gaps that are read of one text cost a few passes over it together: a text
 * in which they would cost more, because each begins within the one before, exhausts its allowance and says so.
 */

const passesMax = 4
const charactersFree = 1_000
const commentEdge = /\/\*|\*\//g
const lineEnd = /[^\n\r]*/y

const dash = 0x2d
const slash = 0x2f
const star = 0x2a
const noBreakSpace = 0xa0

const isSpace = (code: number): boolean => code === 0x20 || (code >= 0x09 && code <= 0x0d) || code === noBreakSpace

export type Gaps = ReturnType<typeof createGaps>

export function createGaps(text: string) {
  let allowance = passesMax * text.length + charactersFree
  const lastCommentEnd = text.lastIndexOf('*/')

  /** Behind the comment that starts at `at`, or the end of the text. */
  function commentEnd(at: number): number {
    if (lastCommentEnd < at) return text.length
    let depth = 0
    commentEdge.lastIndex = at
    for (;;) {
      const edge = commentEdge.exec(text)
      if (edge === null) return text.length
      depth += edge[0] === '/*' ? 1 : -1
      if (depth === 0) return commentEdge.lastIndex
    }
  }

  return {
    /** True when too much was looked at: nothing is said any more of the gaps that follow. */
    get exhausted() {
      return allowance < 0
    },
    /** The offset of what follows the gap at `from`, which may be empty; the text's length when nothing does. */
    endOf(from: number): number {
      let at = from
      for (;;) {
        const code = text.charCodeAt(at)
        if (isSpace(code)) at++
        else if (code === slash && text.charCodeAt(at + 1) === star) {
          const end = commentEnd(at)
          if (lastCommentEnd >= at) allowance -= end - at
          at = end
        } else if (code === dash && text.charCodeAt(at + 1) === dash) {
          lineEnd.lastIndex = at
          lineEnd.test(text)
          allowance -= lineEnd.lastIndex - at
          at = lineEnd.lastIndex
        } else {
          allowance -= at - from
          return at
        }
      }
    },
  }
}
