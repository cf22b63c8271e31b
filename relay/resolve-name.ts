/**
 * The addresses of a host, of both families, as the pod that asks would find them: the search list of its namespace, not of the relay's own.
 *
 * Asks the DNS servers of /etc/resolv.conf itself (no /etc/hosts, no thread pool that a slow server could fill). Bounded: so many names at
 * once, so many addresses of each, so long for all of it; askers of one name share the answer while it is on its way.
 */
import { Resolver } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { systemCodeOf } from '../base/errors.ts'
import { addressFormsOf, type AddressForms } from './address-forms.ts'
import { Refusal } from './refusal.ts'

/** `namespace` is the pod's. @throws Refusal (from the result) NAME_UNRESOLVED, BUSY */
export type ResolveName = (host: string, namespace: string) => Promise<readonly AddressForms[]>

/** Gives texts of addresses. @throws an error with the code of node:dns, as ENOTFOUND or ESERVFAIL */
export type Lookup = (name: string, family: 4 | 6) => Promise<readonly string[]>

/** Of resolv.conf(5): domains to try behind a name, and how many dots make a name one to be tried alone first. */
export type SearchRules = { readonly domains: readonly string[]; readonly ndots: number }

const namesMax = 256
const addressesMax = 256
const millisecondsMax = 5_000
const standardNdots = 1
/** A name does not exist, or not with addresses of this family. */
const absent = ['ENOTFOUND', 'ENODATA']

export function createNameResolver({
  lookup = systemLookup(),
  rules = systemSearchRules(),
  ownNamespace,
}: {
  readonly lookup?: Lookup
  readonly rules?: SearchRules
  /** The relay's: what the search list names as such becomes the pod's. */
  readonly ownNamespace: string
}): ResolveName {
  const underWay = new Map<string, Promise<readonly AddressForms[]>>()

  async function resolve(host: string, namespace: string): Promise<readonly AddressForms[]> {
    for (const name of candidatesOf(host, searchDomainsOf(rules, ownNamespace, namespace), rules.ndots)) {
      const answers = await Promise.allSettled([lookup(name, 4), lookup(name, 6)])
      const failed = answers.find((answer) => answer.status === 'rejected' && !absent.includes(systemCodeOf(answer.reason) ?? ''))
      const texts = interleaved(answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : [])))
      const found = [...new Map(texts.flatMap((text) => addressFormsOf(text) ?? []).map((forms) => [forms.text, forms])).values()]
      if (found.length > 0) return found.slice(0, addressesMax)
      if (failed?.status === 'rejected')
        throw new Refusal('NAME_UNRESOLVED', `\`${host}\` could not be resolved: ${systemCodeOf(failed.reason) ?? 'no answer'}`)
    }
    throw new Refusal('NAME_UNRESOLVED', `there is no address of \`${host}\``)
  }

  return (host, namespace) => {
    const address = addressFormsOf(host)
    if (address !== null) return Promise.resolve([address])
    const key = `${namespace} ${host}`
    const running = underWay.get(key)
    if (running !== undefined) return withinTime(running, host)
    if (underWay.size >= namesMax) return Promise.reject(new Refusal('BUSY', 'too many names are being resolved'))
    const begun = resolve(host, namespace)
    underWay.set(key, begun)
    const forget = (): void => void underWay.delete(key)
    begun.then(forget, forget)
    return withinTime(begun, host)
  }
}

function withinTime<T>(work: Promise<T>, host: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = new Refusal('NAME_UNRESOLVED', `\`${host}\` could not be resolved in ${millisecondsMax} ms`)
    const timer = setTimeout(() => reject(late), millisecondsMax)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** A name with a dot at its end is whole; others are tried with the domains behind them, before or after they are tried alone. */
export function candidatesOf(host: string, domains: readonly string[], ndots: number): string[] {
  if (host.endsWith('.')) return [host.slice(0, -1)]
  const searched = domains.map((domain) => `${host}.${domain}`)
  return host.split('.').length > ndots ? [host, ...searched] : [...searched, host]
}

/** `steno-system.svc.cluster.local` becomes `shop.svc.cluster.local` for a pod of namespace `shop`. */
export function searchDomainsOf({ domains }: SearchRules, ownNamespace: string, namespace: string): string[] {
  return domains.map((domain) => (domain.startsWith(`${ownNamespace}.svc.`) ? `${namespace}${domain.slice(ownNamespace.length)}` : domain))
}

function interleaved(lists: readonly (readonly string[])[]): string[] {
  const length = Math.max(...lists.map((list) => list.length))
  return Array.from({ length }, (_, index) => lists.flatMap((list) => list[index] ?? [])).flat()
}

/** Asks each server for 2 s, twice. */
export function systemLookup(): Lookup {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 })
  return (name, family) => (family === 4 ? resolver.resolve4(name) : resolver.resolve6(name))
}

export function systemSearchRules(file = '/etc/resolv.conf'): SearchRules {
  try {
    return searchRulesIn(readFileSync(file, 'utf8'))
  } catch {
    return { domains: [], ndots: standardNdots } // No such file: names are tried as they are.
  }
}

/** The last `search` or `domain` counts, as in the C library. */
export function searchRulesIn(text: string): SearchRules {
  let domains: string[] = []
  let ndots = standardNdots
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line.trim().split(/\s+/)
    if (keyword === 'search' || keyword === 'domain') domains = words.map((word) => word.replace(/\.$/, ''))
    const given = keyword === 'options' ? words.findLast((word) => /^ndots:\d+$/.test(word)) : undefined
    if (given !== undefined) ndots = Math.min(Number(given.slice('ndots:'.length)), 15)
  }
  return { domains: domains.filter((domain) => domain !== ''), ndots }
}
