/**
 * Asks the registry for known vulnerabilities of the dependencies: high and critical ones in production fail (exit code 1), others are told.
 *
 * Asks by `npm audit`, so the registry and its settings are npm's. A registry that cannot be reached, or that offers no audit, is said
 * plainly and is no failure: the check then proves nothing.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const outputBytesMax = 64 * 1024 * 1024
const auditMillisecondsMax = 60_000

type Severity = 'info' | 'low' | 'moderate' | 'high' | 'critical'
type Vulnerability = {
  readonly name: string
  readonly severity: Severity
  readonly range?: string
  readonly via?: readonly (string | { title?: string; url?: string })[]
}

export type AuditAnswer =
  | { readonly kind: 'answered'; readonly found: readonly Vulnerability[] }
  | { readonly kind: 'silent'; readonly reason: string }

/** Reads what `npm audit --json` printed; anything that is no report counts as silence, with the reason npm gives. */
export function readAnswer(printed: string): AuditAnswer {
  let report: unknown
  try {
    report = JSON.parse(printed)
  } catch {
    return { kind: 'silent', reason: 'npm audit printed no JSON' }
  }
  if (typeof report !== 'object' || report === null) return { kind: 'silent', reason: 'npm audit printed no report' }
  if ('vulnerabilities' in report && typeof report.vulnerabilities === 'object' && report.vulnerabilities !== null) {
    return { kind: 'answered', found: Object.values(report.vulnerabilities as Record<string, Vulnerability>) }
  }
  const { message, error } = report as { message?: string; error?: { summary?: string } }
  return { kind: 'silent', reason: message ?? error?.summary ?? 'npm audit printed no report' }
}

/** Whether a vulnerability must stop a change. */
export function mustFail({ severity }: Pick<Vulnerability, 'severity'>): boolean {
  return severity === 'high' || severity === 'critical'
}

async function audit(...more: string[]): Promise<AuditAnswer> {
  const cwd = fileURLToPath(new URL('..', import.meta.url))
  // `--audit` because the project's .npmrc turns it off for installs.
  const options = { cwd, maxBuffer: outputBytesMax, timeout: auditMillisecondsMax }
  return new Promise((resolve) => {
    // npm's exit code is 1 both for findings and for failures: only what it printed tells them apart.
    execFile('npm', ['audit', '--json', '--audit', '--fetch-retries=1', ...more], options, (error, stdout) => {
      if (error?.killed === true) resolve({ kind: 'silent', reason: `no answer within ${auditMillisecondsMax / 1000} s` })
      else resolve(readAnswer(stdout))
    })
  })
}

function describe({ name, severity, range, via }: Vulnerability): string {
  const causes = (via ?? []).map((cause) => (typeof cause === 'string' ? cause : [cause.title, cause.url].filter(Boolean).join(' ')))
  return `${severity}: ${name} ${range ?? ''} (${causes.join('; ')})`
}

if (import.meta.main) {
  const production = await audit('--omit=dev', '--omit=optional')
  const all = production.kind === 'answered' ? await audit() : production
  if (production.kind === 'silent' || all.kind === 'silent') {
    const reason = production.kind === 'silent' ? production.reason : all.kind === 'silent' ? all.reason : ''
    console.log(`audit: NOT CHECKED, the registry gave no audit (${reason})`)
  } else {
    const shipped = new Set(production.found.map(({ name }) => name))
    for (const found of all.found) console.log(`audit: ${shipped.has(found.name) ? 'production' : 'development only'}: ${describe(found)}`)
    const fatal = production.found.filter(mustFail)
    console.log(`audit: ${production.found.length} known vulnerabilities in production, ${fatal.length} of them high or critical`)
    if (fatal.length > 0) process.exitCode = 1
  }
}
