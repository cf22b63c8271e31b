/**
 * Writes plain data as YAML 1.2 in block style: enough for the manifests that are generated here, and no reader.
 *
 * Strings are quoted as JSON (which YAML reads the same) unless they are words that no version of YAML takes for something else.
 * Fields that are undefined are left out.
 */
import { invariant } from '../base/invariant.ts'

/** Words that are safe bare: not numbers (some readers of YAML 1.1 take `e0` for one), not `true`, `no`, `null`, `~` or the like. */
const bareWord = /^[A-Za-z][A-Za-z0-9._/-]*$/
const meaningful = /^(true|false|yes|no|on|off|null|y|n|e[\d_.]+)$/i

export function toYaml(value: unknown): string {
  return `${block(value, 0).replace(/^\n/, '')}\n`
}

/** Text behind `key:` or `-`: a space and a scalar, or a line break and lines that are indented. */
function block(value: unknown, indent: number): string {
  const pad = ' '.repeat(indent)
  if (Array.isArray(value)) {
    if (value.length === 0) return ' []'
    return value
      .map((item) => {
        const text = block(item, indent + 2)
        // The first field of an item stands behind its dash.
        return `\n${pad}-${text.startsWith('\n') ? ` ${text.slice(1).trimStart()}` : text}`
      })
      .join('')
  }
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined)
    if (fields.length === 0) return ' {}'
    return fields.map(([name, field]) => `\n${pad}${scalar(name)}:${block(field, indent + 2)}`).join('')
  }
  return ` ${scalar(value)}`
}

function scalar(value: unknown): string {
  invariant(value === null || ['string', 'number', 'boolean'].includes(typeof value), 'only plain data is written as YAML')
  if (typeof value === 'string' && bareWord.test(value) && !meaningful.test(value)) return value
  return JSON.stringify(value)
}
