/**
 * CEL for addresses and ranges of addresses, out of what every supported API server has: `isIP` and `isCIDR` are refused in
 * CustomResourceDefinitions before Kubernetes 1.31, for the API server takes new functions only once the release before it knew them
 * (k8s.io/apiserver/pkg/cel/environment).
 *
 * Says the same as `address-range.ts`; a test of the schemas keeps rules to these functions, and one on a real server compares both.
 * Patterns alone, because the API server charges every rule for its worst case, and lists cost most.
 */
const byte = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
const group = '[0-9A-Fa-f]{1,4}'
const some = `((${group}:)*${group})?`

/** True in CEL when `text`, an expression of type string, is an IPv4 or IPv6 address: no zone, no dots in IPv6, no IPv4 mapped into it. */
export function celIsAddress(text: string): string {
  return celOf(text, { four: '', six: '' })
}

/** True in CEL when `text` is an address, a slash, and a length of prefix that fits. */
export function celIsAddressRange(text: string): string {
  return celOf(text, { four: '/([12]?[0-9]|3[0-2])', six: '/(12[0-8]|1[01][0-9]|[1-9]?[0-9])' })
}

/** `behind`: a pattern for what follows the address, for each family. */
function celOf(text: string, behind: { readonly four: string; readonly six: string }): string {
  const four = `${text}.matches('^(${byte}[.]){3}${byte}${behind.four}$')`
  const whole = `${text}.matches('^(${group}:){7}${group}${behind.six}$')`
  const shortened = `${text}.matches('^${some}::${some}${behind.six}$')`
  // `::` stands for one group at least, so seven may be written.
  const eight = `${text}.matches('^:*([0-9A-Fa-f]+:+){7}[0-9A-Fa-f]')`
  const mapped = `${text}.matches('^[0:]*:[Ff]{4}:${group}:${group}(/|$)')`
  return `(${four} || ((${whole} || (${shortened} && !${eight})) && !${mapped}))`
}
