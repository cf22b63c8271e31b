/**
 * Whether a certificate is for the host that was asked for, by libpq's rules for sslmode=verify-full.
 *
 * A wildcard stands for the whole left-most label and nothing else. The common name counts only when the certificate has no alternative
 * name of the host's own kind (name or IP address). Source: PostgreSQL's fe-secure-common.c and fe-secure-openssl.c.
 */
import type { X509Certificate } from 'node:crypto'
import { BlockList, isIP } from 'node:net'

export function certificateFits(certificate: X509Certificate, host: string): boolean {
  const family = isIP(host)
  const names = alternativeNames(certificate.subjectAltName)
  const fits = names.some(({ kind, value }) =>
    kind === 'DNS' ? nameMatches(value, host) : kind === 'IP Address' && family !== 0 && sameAddress(value, host),
  )
  if (fits) return true
  if (names.some(({ kind }) => kind === (family === 0 ? 'DNS' : 'IP Address'))) return false
  const commonName = /^CN=(.*)$/m.exec(certificate.subject ?? '')?.[1]
  return commonName !== undefined && nameMatches(commonName, host)
}

export function nameMatches(pattern: string, host: string): boolean {
  const [wanted, name] = [pattern.toLowerCase(), host.toLowerCase()]
  if (wanted === name) return wanted !== '' && !wanted.includes('\0')
  if (wanted.length < 3 || !wanted.startsWith('*.') || wanted.length > name.length) return false
  const suffix = wanted.slice(1)
  return name.endsWith(suffix) && name.indexOf('.') >= name.length - suffix.length
}

/** Whether two texts are the same IP address, however each is written. */
export function sameAddress(left: string, right: string): boolean {
  const family = isIP(left)
  if (family === 0 || family !== isIP(right)) return false
  // An IPv6 address can be written in many ways; the list compares the bits.
  const list = new BlockList()
  const kind = family === 6 ? 'ipv6' : 'ipv4'
  list.addAddress(left, kind)
  return list.check(right, kind)
}

/** Node writes `DNS:a, IP Address:1.2.3.4`, and quotes as JSON what could be mistaken for more than one name. */
export function alternativeNames(text: string | undefined): { readonly kind: string; readonly value: string }[] {
  const names: { kind: string; value: string }[] = []
  let rest = text ?? ''
  while (rest !== '') {
    const match = /^([^:"]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/.exec(rest)
    if (match === null) return names // What cannot be read is no name: nothing can match it.
    const value = match[2]!
    names.push({ kind: match[1]!, value: value.startsWith('"') ? unquote(value) : value })
    rest = rest.slice(match[0].length)
  }
  return names
}

function unquote(text: string): string {
  try {
    return String(JSON.parse(text))
  } catch {
    return '\0' // Matches no host.
  }
}
