/**
 * Says to the relay what standard input holds, a JSON list of `RelayAttempt`, from inside a pod, and prints one JSON line `RelayAnswer` for
 * each. Checks no certificate: whoever attacks does not care who answers.
 */
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'

export type RelayAttempt = {
  readonly name: string
  readonly host: string
  readonly port: number
  /** Latin-1; the first of several parts, each sent when something came for the part before. */
  readonly parts: readonly string[]
  readonly isPlain?: boolean
  readonly tlsVersionMax?: 'TLSv1.2'
  readonly alpn?: string
}
/** `texts`: what came for each part, Latin-1, shortened. */
export type RelayAnswer = { readonly name: string; readonly texts: readonly string[]; readonly error: string | null }

const waitMilliseconds = 7_000
const charactersMax = 1_000
const concurrency = 4
const attempts = JSON.parse(readFileSync(0, 'utf8')) as RelayAttempt[]

function ask({ name, host, port, parts, isPlain, tlsVersionMax, alpn }: RelayAttempt): Promise<RelayAnswer> {
  return new Promise((resolve) => {
    const texts: string[] = []
    const more = { ...(tlsVersionMax && { maxVersion: tlsVersionMax }), ...(alpn && { ALPNProtocols: [alpn] }) }
    const socket =
      isPlain === true ? net.connect({ host, port }) : tls.connect({ host, port, rejectUnauthorized: false, servername: host, ...more })
    const end = (error: string | null): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ name, texts, error })
    }
    const timer = setTimeout(() => end('no answer'), waitMilliseconds)
    socket.on(isPlain === true ? 'connect' : 'secureConnect', () => socket.write(parts[0] ?? '', 'latin1'))
    let refusal: string | null = null
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1')
      // A refusal comes in pieces, and the relay closes after it.
      if (refusal !== null || /^HTTP\/1\.1 (?!200)/.test(text)) {
        refusal = `${refusal ?? ''}${text}`
        return
      }
      texts.push(text.slice(0, charactersMax))
      const next = parts[texts.length]
      if (next === undefined) end(null)
      else socket.write(next, 'latin1')
    })
    socket.on('error', (error) => end(error.message))
    socket.on('close', () => {
      if (refusal !== null) texts.push(refusal.slice(0, charactersMax))
      end(texts.length === 0 ? 'closed without an answer' : null)
    })
  })
}

async function work(): Promise<void> {
  for (let next = attempts.shift(); next !== undefined; next = attempts.shift())
    process.stdout.write(`${JSON.stringify(await ask(next))}\n`)
}
await Promise.all(Array.from({ length: concurrency }, work))
